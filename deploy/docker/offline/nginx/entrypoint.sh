#!/bin/sh
# Fills in templates as the official image does: NAME.template in NGINX_ENVSUBST_TEMPLATE_DIR (/etc/nginx/templates) becomes NAME
# in NGINX_ENVSUBST_OUTPUT_DIR (/etc/nginx/conf.d), with ${VARIABLE} replaced for every variable of the environment whose name
# matches NGINX_ENVSUBST_FILTER.
set -e

if [ "$1" = nginx ]; then
    templates=${NGINX_ENVSUBST_TEMPLATE_DIR:-/etc/nginx/templates}
    output=${NGINX_ENVSUBST_OUTPUT_DIR:-/etc/nginx/conf.d}
    # shellcheck disable=SC2016 # the dollars are envsubst's
    names=$(env | cut -d= -f1 | grep -E '^[A-Za-z_][A-Za-z0-9_]*$' | grep -E "${NGINX_ENVSUBST_FILTER:-.}" | sed 's/.*/${&}/' | tr '\n' ' ')
    for template in "$templates"/*.template; do
        [ -e "$template" ] || continue
        name=$(basename "$template" .template)
        envsubst "$names" <"$template" >"$output/$name"
    done
fi
exec "$@"

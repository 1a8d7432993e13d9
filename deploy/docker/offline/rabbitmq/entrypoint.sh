#!/usr/bin/env bash
# Starts RabbitMQ as the official image does. RABBITMQ_DEFAULT_USER, _PASS and _VHOST, which the server reads itself, are used at
# the first start only; RABBITMQ_ERLANG_COOKIE and configuration in /etc/rabbitmq are taken as they are.
set -euo pipefail

if [[ "${1:-}" == rabbitmq-server && "$(id -u)" == 0 ]]; then
    chown rabbitmq:rabbitmq /var/lib/rabbitmq /var/log/rabbitmq
    exec setpriv --reuid=rabbitmq --regid=rabbitmq --init-groups "$0" "$@"
fi
if [[ -n "${RABBITMQ_ERLANG_COOKIE:-}" ]]; then
    cookie="$HOME/.erlang.cookie"
    if [[ -e "$cookie" && "$(<"$cookie")" != "$RABBITMQ_ERLANG_COOKIE" ]]; then
        printf 'error: %s has another cookie than RABBITMQ_ERLANG_COOKIE\n' "$cookie" >&2
        exit 1
    fi
    (umask 077 && printf '%s' "$RABBITMQ_ERLANG_COOKIE" >"$cookie")
fi
# Logs belong to standard output, and the script becomes the node instead of staying its parent.
export RABBITMQ_LOGS=- RUNNING_UNDER_SYSTEMD=true
exec "$@"

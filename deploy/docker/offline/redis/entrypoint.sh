#!/bin/sh
# Starts Redis as the official image does: a first argument that is an option or a configuration file is redis-server's. Without
# a configuration it listens on all interfaces, since nobody outside the container could reach it otherwise.
set -e

case "${1:-}" in
    -* | *.conf) set -- redis-server "$@" ;;
esac
if [ "$1" = redis-server ]; then
    if [ "$#" = 1 ]; then set -- redis-server --protected-mode no; fi
    if [ "$(id -u)" = 0 ]; then
        chown redis:redis /data
        exec setpriv --reuid=redis --regid=redis --init-groups "$0" "$@"
    fi
fi
umask 0077
exec "$@"

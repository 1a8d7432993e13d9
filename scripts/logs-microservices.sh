#!/usr/bin/env bash
# Shows what the services under docker compose write.
#
# usage: scripts/logs-microservices.sh [--follow] [--tail N] [--since TIME] [SERVICE...]
#
#   SERVICE       postgres, postgres-replica, redis, rabbitmq, store, gateway, broker, registry, database-service, nginx; all when
#                 none is named
#   --follow, -f  goes on with what comes
#   --tail N      the last N lines of each replica (200); all
#   --since TIME  from then on: 10m, 2026-01-31T12:00:00
#
# What scripts/start-microservices.sh --local started writes to files in its data directory.
set -euo pipefail

root="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)"
# shellcheck source=SCRIPTDIR/lib/compose.sh
source "$root/scripts/lib/compose.sh"

follow=no tail=200 since='' services=()
while (($# > 0)); do
    case $1 in
        --help | -h)
            sed -n '2,/^set -euo/{/^set -euo/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
            exit 0
            ;;
        --follow | -f) follow=yes ;;
        --tail | --since)
            (($# > 1)) || die 64 "$1 needs a value"
            if [[ "$1" == --tail ]]; then tail=$2; else since=$2; fi
            shift
            ;;
        -*) die 64 "unknown argument: $1 (see --help)" ;;
        *) services+=("$1") ;;
    esac
    shift
done
[[ "$tail" == all || "$tail" =~ ^[0-9]+$ ]] || die 64 "--tail must be a number or all"

require_engine compose
mapfile -t known < <(compose config --services)
for service in "${services[@]}"; do
    [[ " ${known[*]} " == *" $service "* ]] || die 64 "there is no service $service: ${known[*]}"
done
if [[ -z "$(compose ps --quiet)" ]]; then
    say "nothing runs; scripts/start-microservices.sh starts it"
    exit 0
fi
# Compose 1.29 has no --since, the engine has: its lines, with the name of the container before each.
if [[ -n "$since" ]]; then
    arguments=(--since "$since" --tail "$tail")
    if [[ "$follow" == yes ]]; then arguments+=(--follow); fi
    # What runs in the background does not hear Ctrl-C.
    trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
    for id in $(compose ps --quiet "${services[@]}"); do
        name="$(docker inspect --format '{{.Name}}' "$id")"
        docker logs "${arguments[@]}" "$id" 2>&1 | sed -u "s|^|${name#/}  |" &
    done
    wait
else
    arguments=(--tail "$tail")
    if [[ "$follow" == yes ]]; then arguments+=(--follow); fi
    if [[ ! -t 1 ]]; then arguments+=(--no-color); fi
    compose logs "${arguments[@]}" "${services[@]}"
fi

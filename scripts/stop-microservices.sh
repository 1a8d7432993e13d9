#!/usr/bin/env bash
# Stops what scripts/start-microservices.sh started, under docker compose or on this machine: gateways first, then brokers,
# database-service, store and registry, and last the servers that it started itself. Each finishes what is in flight. Data stays.
#
# usage: scripts/stop-microservices.sh [--local [--data-dir DIR] [--services-only] | --delete-data]
#
#   --local           only what runs on this machine without containers
#   --data-dir DIR    as at the start (data/microservices); --local goes without saying
#   --services-only   leaves PostgreSQL, Redis and RabbitMQ running; --local goes without saying
#   --delete-data     only what runs in containers, and deletes its volumes: everything that was ever stored there
#
# May be run twice. Processes are known by their ids and start times, never by their names.
set -euo pipefail

root="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)"
# shellcheck source=scripts/lib/processes.sh
source "$root/scripts/lib/processes.sh"
# shellcheck source=scripts/lib/services.sh
source "$root/scripts/lib/services.sh"

what=all data_dir="$root/data/microservices" services_only=no delete_data=no

while (($# > 0)); do
    case $1 in
        --help | -h)
            sed -n '2,/^set -euo/{/^set -euo/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
            exit 0
            ;;
        --local) what=local ;;
        --services-only) what=local services_only=yes ;;
        --delete-data) delete_data=yes ;;
        --data-dir)
            if (($# < 2)); then die 64 "--data-dir needs a value"; fi
            what=local data_dir=$2
            shift
            ;;
        *) die 64 "unknown argument: $1 (see --help)" ;;
    esac
    shift
done

if [[ "$delete_data" == yes ]]; then
    [[ "$what" == all ]] || die 64 "--delete-data is for containers: on this machine the data are a directory of their own"
    what=containers
fi

stop_local() {
    local name
    require_linux
    open_data_dir "$data_dir"
    lock_data_dir

    # A service drains for up to 30 s.
    for name in $(names_like gateway-) $(names_like broker-) database-service store registry; do
        terminate "$name" 45
    done
    if [[ "$services_only" == no ]]; then
        for name in rabbitmq rabbitmq-names redis postgresql; do
            terminate "$name" 60
        done
    fi
}

stopped=no
if [[ "$what" != containers && -d "$data_dir/run" ]]; then
    stop_local
    stopped=yes
fi
if [[ "$what" != local ]]; then
    # shellcheck source=scripts/lib/compose.sh
    source "$root/scripts/lib/compose.sh"
    if [[ "$delete_data" == yes ]]; then
        stop_compose --volumes
        stopped=yes
    elif command -v docker >/dev/null && docker info >/dev/null 2>&1 && find_compose && is_up; then
        stop_compose keep
        stopped=yes
    fi
fi
if [[ "$stopped" == yes ]]; then say "all is stopped"; else say "nothing is running"; fi

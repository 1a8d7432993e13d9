#!/usr/bin/env bash
# Stops what scripts/start-microservices.sh started: gateways first, then brokers, database-service, store and registry, and last
# the servers that it started itself. Each finishes what is in flight. Data stays.
#
# usage: scripts/stop-microservices.sh [--data-dir DIR] [--services-only]
#
#   --data-dir DIR    as at the start (data/microservices)
#   --services-only   leaves PostgreSQL, Redis and RabbitMQ running
#
# May be run twice. Processes are known by their ids and start times, never by their names.
set -euo pipefail

root="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)"
# shellcheck source=scripts/lib/processes.sh
source "$root/scripts/lib/processes.sh"
# shellcheck source=scripts/lib/services.sh
source "$root/scripts/lib/services.sh"
require_linux

data_dir="$root/data/microservices" services_only=no

while (($# > 0)); do
    case $1 in
        --help | -h)
            sed -n '2,/^set -euo/{/^set -euo/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
            exit 0
            ;;
        --services-only) services_only=yes ;;
        --data-dir)
            (($# > 1)) || die 64 "--data-dir needs a value"
            data_dir=$2
            shift
            ;;
        *) die 64 "unknown argument: $1 (see --help)" ;;
    esac
    shift
done

if [[ ! -d "$data_dir/run" ]]; then
    say "nothing was started in $data_dir"
    exit 0
fi
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
say "all is stopped"

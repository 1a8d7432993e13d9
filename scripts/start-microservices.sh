#!/usr/bin/env bash
# Starts the platform as programs of their own on PostgreSQL, Redis and RabbitMQ, and waits until it is ready.
#
# usage: scripts/start-microservices.sh [--gateways N] [--brokers N] [--build]
#        scripts/start-microservices.sh --local [--gateways N] [--brokers N] [--data-dir DIR] [--release | --debug]
#
# Without --local under docker compose, behind nginx on the ports 80 and 3000 (docs/deployment.md): makes the secrets in .env on the
# first run, builds the images that are missing and starts what is not running.
#
#   --gateways N    replicas of the gateway (as many as run, or 1)
#   --brokers N     replicas of the broker (as many as run, or 2)
#   --build         builds the images again
#
# With --local on this machine, without containers:
#
#   --gateways N    replicas of the gateway (1); the first has port 3000, the next 3010, 3020, ...
#   --brokers N     replicas of the broker (1); ports 3002 and 50052, then 3012 and 50062, ...
#   --data-dir DIR  data, passwords, logs and process ids (data/microservices)
#   --release       build optimised programs (what it does when nothing is said)
#   --debug         build programs that are quicker to build and slower to run
#
# Then servers that run already are used when they are named: PostgreSQL by DATABASE_URL (postgres://user:password@host:port/database)
# or PG_HOST, PG_PORT, PG_USER, PG_PASSWORD, PG_DATABASE; Redis by REDIS_URL or REDIS_HOST; RabbitMQ by RABBITMQ_URL (and
# RABBITMQ_MANAGEMENT_URL for its health); another database for the registry by REGISTRY_DB_DSN. Each that is not named is started
# in DIR, on the loopback interface, on its usual port or else on a free one, with a password made up for it.
#
# In the database it creates, unless they are there, a role and a schema for each of store, registry and database_service.
# JWT_SECRET is made up once and kept in DIR. SKER_BIN_DIR names a directory of programs that were built before. Ports:
# GATEWAY_PORT, STORE_PORT, STORE_GRPC_PORT, BROKER_PORT, BROKER_GRPC_PORT, REGISTRY_HTTP_PORT, REGISTRY_GRPC_PORT,
# DATABASE_SERVICE_PORT, DATABASE_SERVICE_GRPC_PORT. Other settings of the services pass through (SKER_BROKER__WORKER__SLOTS=64).
#
# Run it again at any time: what runs is left alone, what is missing is started. scripts/stop-microservices.sh stops it.
# Status: 0 all is ready, 1 something failed, 64 wrong usage, 69 a server's software is not installed.
set -euo pipefail

root="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)"
# shellcheck source=scripts/lib/processes.sh
source "$root/scripts/lib/processes.sh"
# shellcheck source=scripts/lib/servers.sh
source "$root/scripts/lib/servers.sh"
# shellcheck source=scripts/lib/database.sh
source "$root/scripts/lib/database.sh"
# shellcheck source=scripts/lib/services.sh
source "$root/scripts/lib/services.sh"

is_local=no gateways='' brokers='' data_dir='' profile='' build_again=no

usage() {
    sed -n '2,/^set -euo/{/^set -euo/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
}

read_arguments() {
    while (($# > 0)); do
        case $1 in
            --help | -h) usage && exit 0 ;;
            --local) is_local=yes ;;
            --release) profile=release ;;
            --debug) profile=debug ;;
            --build) build_again=yes ;;
            --gateways | --brokers | --data-dir)
                if [[ -z "${2:-}" ]]; then die 64 "$1 needs a value"; fi
                case $1 in
                    --gateways) gateways=$2 ;;
                    --brokers) brokers=$2 ;;
                    --data-dir) data_dir=$2 ;;
                esac
                shift
                ;;
            *) die 64 "unknown argument: $1 (see --help)" ;;
        esac
        shift
    done
    if [[ "$is_local" == yes ]]; then
        [[ "$build_again" == no ]] || die 64 "--build is for containers: --local builds whatever has changed"
        gateways=${gateways:-1} brokers=${brokers:-1} data_dir=${data_dir:-$root/data/microservices} profile=${profile:-release}
    else
        [[ -z "$data_dir$profile" ]] || die 64 "--data-dir, --release and --debug need --local (see --help)"
    fi
    [[ "${gateways:-1}" =~ ^[1-9][0-9]?$ ]] || die 64 "--gateways must be within 1 and 99"
    [[ "${brokers:-1}" =~ ^[1-9][0-9]?$ ]] || die 64 "--brokers must be within 1 and 99"
}

# build: the five programs, unless they were built before.
build() {
    local kind
    if [[ -n "${SKER_BIN_DIR:-}" ]]; then
        bin_dir="$(cd -- "$SKER_BIN_DIR" 2>/dev/null && pwd -P)" || die 64 "SKER_BIN_DIR names no directory: $SKER_BIN_DIR"
    else
        command -v cargo >/dev/null ||
            die 69 "cargo is not installed: see https://rustup.rs, or set SKER_BIN_DIR to a directory of built programs"
        say "building the programs ($profile)"
        local flags=(--locked --workspace --bins)
        if [[ "$profile" == release ]]; then flags+=(--release); fi
        cargo build --quiet --manifest-path "$root/Cargo.toml" "${flags[@]}" || die 1 "the programs cannot be built"
        bin_dir="${CARGO_TARGET_DIR:-$root/target}/$profile"
    fi
    for kind in registry store database-service broker gateway; do
        [[ -x "$bin_dir/sker-$kind" ]] || die 1 "there is no program sker-$kind in $bin_dir"
    done
}

# choose_servers: which are named, and which are to be started.
choose_servers() {
    own_servers=()
    case ${DATABASE_URL:-} in
        '') if [[ -z "${PG_HOST:-}" ]]; then own_servers+=(postgresql); fi ;;
        postgres://* | postgresql://*) ;;
        *) die 64 "DATABASE_URL must begin with postgres://: the programs share a server (sker up keeps everything in files)" ;;
    esac
    if [[ -z "${REDIS_URL:-}${REDIS_HOST:-}" ]]; then own_servers+=(redis); fi
    if [[ -z "${RABBITMQ_URL:-}" ]]; then own_servers+=(rabbitmq); fi
    require_servers "${own_servers[@]}"
    # Their software is needed for what they have to be asked, too.
    if [[ " ${own_servers[*]} " != *' postgresql '* ]] && ! postgres_program psql >/dev/null; then
        die 69 "psql is not installed, which creates roles and schemas: sudo apt-get install postgresql-client"
    fi
    redis_url=${REDIS_URL:-redis://${REDIS_HOST:-127.0.0.1}:6379}
    rabbitmq_url=${RABBITMQ_URL:-} rabbitmq_management_url=${RABBITMQ_MANAGEMENT_URL:-}
}

start_servers() {
    local name
    for name in "${own_servers[@]}"; do
        if ! runs "$name"; then say "starting $name"; fi
        "start_$name"
    done
}

prepare_database() {
    if [[ -n "${DATABASE_URL:-}" ]]; then
        use_postgres_url "$DATABASE_URL"
    elif [[ -n "${PG_HOST:-}" ]]; then
        export PGHOST=$PG_HOST PGPORT=${PG_PORT:-5432} PGUSER=${PG_USER:-postgres} PGPASSWORD=${PG_PASSWORD:-}
        export PGDATABASE=${PG_DATABASE:-sker}
    fi
    make_database
    # One after the other and not joined by &&, within which a function goes on after a failure.
    make_schema store
    store_url=$url_of_service
    make_schema registry
    registry_database="SKER_REGISTRY__DATABASE__URL=$url_of_service"
    make_schema database_service
    database_service_url=$url_of_service
    if [[ -n "${REGISTRY_DB_DSN:-}" ]]; then registry_database="REGISTRY_DB_DSN=$REGISTRY_DB_DSN"; fi
}

report() {
    local name
    say ""
    say "The platform is ready."
    for name in "${names[@]}"; do
        printf '  %-18s http://127.0.0.1:%s\n' "$name" "$(ports_of "$name" | cut -d' ' -f1)"
    done
    say "Data, logs and passwords: $data_dir"
    if [[ -s "$data_dir/admin-password" ]]; then
        say "The administrator is ${SKER_ADMIN_EMAIL:-admin@sker.local}; the password stands in $data_dir/admin-password"
    fi
    say "Stop it: $(stop_command)"
}

read_arguments "$@"
if [[ "$is_local" == no ]]; then
    # shellcheck source=scripts/lib/compose.sh
    source "$root/scripts/lib/compose.sh"
    if [[ "$build_again" == yes ]]; then again='--build'; else again=''; fi
    start_compose "$gateways" "$brokers" "$again"
    exit
fi
require_linux
check_port_settings
choose_servers
build
open_data_dir "$data_dir"
lock_data_dir
mapfile -t names < <(service_names "$gateways" "$brokers")
check_ports "${names[@]}"
start_servers
prepare_database
jwt_secret="${JWT_SECRET:-$(secret jwt)}"
read -r _ registry_grpc <<<"$(ports_of registry)"
read -r _ store_grpc <<<"$(ports_of store)"
registry_grpc_url="http://127.0.0.1:$registry_grpc" store_grpc_url="http://127.0.0.1:$store_grpc"
for name in "${names[@]}"; do start_service "$name"; done
report

# shellcheck shell=bash
# The five services: their ports, their settings, how one is started. Sourced after processes.sh, never run.

# Each replica's ports are ten above those of the one before.
declare -A usual_ports=(
    [gateway]="${GATEWAY_PORT:-3000}"
    [store]="${STORE_PORT:-3001} ${STORE_GRPC_PORT:-50051}"
    [broker]="${BROKER_PORT:-3002} ${BROKER_GRPC_PORT:-50052}"
    [registry]="${REGISTRY_HTTP_PORT:-8080} ${REGISTRY_GRPC_PORT:-9091}"
    [database-service]="${DATABASE_SERVICE_PORT:-8089} ${DATABASE_SERVICE_GRPC_PORT:-50053}"
)
declare -A port_variables=(
    [gateway]="GATEWAY_PORT"
    [store]="STORE_PORT STORE_GRPC_PORT"
    [broker]="BROKER_PORT BROKER_GRPC_PORT"
    [registry]="REGISTRY_HTTP_PORT REGISTRY_GRPC_PORT"
    [database-service]="DATABASE_SERVICE_PORT DATABASE_SERVICE_GRPC_PORT"
)

# service_names GATEWAYS BROKERS: in the order in which they are started.
service_names() {
    local index
    printf '%s\n' registry store database-service
    for ((index = 1; index <= $2; index++)); do printf 'broker-%s\n' "$index"; done
    for ((index = 1; index <= $1; index++)); do printf 'gateway-%s\n' "$index"; done
}

# running_services: those of any earlier start, in the order in which they are to be stopped.
running_services() {
    local name
    for name in $(names_like gateway-) $(names_like broker-) database-service store registry; do
        if runs "$name"; then printf '%s\n' "$name"; fi
    done
}

# kind_of NAME: gateway-2 is a gateway.
kind_of() {
    case $1 in
        gateway-* | broker-*) printf '%s' "${1%-*}" ;;
        *) printf '%s' "$1" ;;
    esac
}

# check_port_settings: whether every port that is set is a number.
check_port_settings() {
    local kind port
    for kind in "${!usual_ports[@]}"; do
        for port in ${usual_ports[$kind]}; do
            [[ "$port" =~ ^[1-9][0-9]{0,4}$ ]] ||
                die 64 "a port of $kind is no number from 1 on: $port (${port_variables[$kind]// / or })"
        done
    done
}

# ports_of NAME: HTTP and, unless it is a gateway, gRPC. What runs keeps the ports it was started with.
ports_of() {
    local kind shift=0 port ports=()
    if runs "$1" && [[ -s "$data_dir/ports/$1" ]]; then
        cat "$data_dir/ports/$1"
        return
    fi
    kind="$(kind_of "$1")"
    case $1 in
        gateway-* | broker-*) shift=$(((${1##*-} - 1) * 10)) ;;
    esac
    for port in ${usual_ports[$kind]}; do ports+=($((port + shift))); done
    printf '%s' "${ports[*]}"
}

# check_ports NAME...: every port that is taken, before anything is started.
check_ports() {
    local name port faults=0
    local -A wanted=()
    for name in "$@"; do
        for port in $(ports_of "$name"); do
            if ((port > 65535)); then
                warn "error: there is no port $port, which $name would have: set ${port_variables[$(kind_of "$name")]// / or }"
                faults=1
            elif [[ -n "${wanted[$port]:-}" ]]; then
                warn "error: port $port is wanted by both ${wanted[$port]} and $name"
                faults=1
            elif ! runs "$name" && is_busy "$port"; then
                warn "error: port $port is in use, and $name needs it: stop what uses it, or set ${port_variables[$(kind_of "$name")]// / or }"
                faults=1
            fi
            wanted[$port]=$name
        done
    done
    if ((faults)); then exit 1; fi
}

# start_service NAME: unless it runs, and waits until it is ready.
start_service() {
    local name=$1 http grpc
    read -r http grpc <<<"$(ports_of "$name")"
    if ! runs "$name"; then launch_service "$name" "$http" "$grpc"; fi
    await "$name" 90 is_ready "$http"
    say "$name is ready at http://127.0.0.1:$http"
}

# launch_service NAME HTTP GRPC: with its settings in the environment; nothing secret stands on a command line.
launch_service() {
    local name=$1 http=$2 grpc=$3 kind prefix settings=()
    kind="$(kind_of "$name")"
    prefix="SKER_$(tr 'a-z-' 'A-Z_' <<<"$kind")"
    settings=("JWT_SECRET=$jwt_secret" "${prefix}__HTTP__PORT=$http")
    if [[ -n "$grpc" ]]; then settings+=("${prefix}__GRPC__PORT=$grpc"); fi
    case $kind in
        registry) settings+=("$registry_database") ;;
        store)
            settings+=("SKER_STORE__DATABASE__URL=$store_url" "SKER_STORE__DATABASE__SCHEMA=store"
                "SKER_STORE__ADMIN__PASSWORD_FILE=$data_dir/admin-password")
            ;;
        database-service)
            settings+=("SKER_DATABASE_SERVICE__DATABASE__URL=$database_service_url" "DATABASE_URL=$database_service_url"
                "RABBITMQ_MANAGEMENT_URL=$rabbitmq_management_url")
            ;;
        broker) settings+=("SKER_BROKER__DATA_DIR=$data_dir/$name") ;;
    esac
    if [[ "$kind" != registry ]]; then
        settings+=("REGISTRY_GRPC_URL=$registry_grpc_url" "STORE_GRPC_URL=$store_grpc_url" "REDIS_URL=$redis_url"
            "RABBITMQ_URL=$rabbitmq_url")
    fi
    mkdir -p "$data_dir/ports"
    printf '%s' "$http${grpc:+ $grpc}" >"$data_dir/ports/$name"
    (
        # Names of servers are meant for this script; each service is told what is its own.
        unset DATABASE_URL PG_HOST PG_PORT PG_USER PG_PASSWORD PG_DATABASE REGISTRY_DB_DSN REDIS_HOST REDIS_URL \
            RABBITMQ_URL RABBITMQ_MANAGEMENT_URL GATEWAY_PORT STORE_PORT BROKER_PORT REGISTRY_HTTP_PORT REGISTRY_GRPC_PORT \
            PGHOST PGPORT PGUSER PGPASSWORD PGDATABASE PGSSLMODE
        export "${settings[@]}"
        launch "$name" "$bin_dir/sker-$kind"
    )
}

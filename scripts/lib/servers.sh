# shellcheck shell=bash
# PostgreSQL, Redis and RabbitMQ of a data directory's own, for whoever has none. Sourced after processes.sh, never run.
#
# Each listens on the loopback interface only, has a password of its own and keeps its data in $data_dir/NAME. Ports are the
# usual ones when they are free, else others; they are remembered in $data_dir/ports/NAME.

# find_program NAME PACKAGE PATTERN...: its path; patterns name places beside the PATH, the newest version is taken.
find_program() {
    local name=$1 pattern found
    shift 2
    for pattern in "$@"; do
        found="$(compgen -G "$pattern/$name" | sort -V | tail -n 1)" || true
        if [[ -x "$found" ]]; then
            printf '%s' "$found"
            return
        fi
    done
    command -v "$name"
}

postgres_program() {
    find_program "$1" postgresql '/usr/lib/postgresql/*/bin' '/usr/pgsql-*/bin'
}

rabbitmq_program() {
    # The one on Debian's PATH changes the user.
    find_program rabbitmq-server rabbitmq-server /usr/lib/rabbitmq/bin '/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin'
}

epmd_program() {
    find_program epmd erlang-base '/usr/lib/erlang/erts-*/bin' '/usr/lib64/erlang/erts-*/bin'
}

# require_servers NAME...: ends with a list of all that is missing and how to get it.
require_servers() {
    local name missing=() packages=()
    need() {
        if ! "${@:3}" >/dev/null 2>&1; then
            missing+=("$1")
            packages+=("$2")
        fi
    }
    for name in "$@"; do
        case $name in
            postgresql)
                need 'PostgreSQL (postgres, initdb)' postgresql postgres_program initdb
                need 'psql' postgresql-client postgres_program psql
                if [[ "$(id -u)" == 0 ]]; then need 'setpriv' util-linux command -v setpriv; fi
                ;;
            redis) need 'Redis (redis-server)' redis-server command -v redis-server ;;
            rabbitmq)
                need 'RabbitMQ (rabbitmq-server)' rabbitmq-server rabbitmq_program
                need 'Erlang (epmd)' erlang-base epmd_program
                ;;
        esac
    done
    if ((${#missing[@]} > 0)); then
        warn "error: these are not installed: $(printf '%s, ' "${missing[@]}" | sed 's/, $//')"
        warn "On Debian and Ubuntu:  sudo apt-get install --no-install-recommends ${packages[*]}"
        warn "Or name servers that run already: DATABASE_URL (or PG_HOST ...), REDIS_URL, RABBITMQ_URL."
        exit 69
    fi
}

# server_port NAME USUAL PROCESS: the port that the process had the last time, else the usual one, else a free one.
server_port() {
    local name=$1 file="$data_dir/ports/$1" port
    mkdir -p "$data_dir/ports"
    if [[ -s "$file" ]]; then
        port="$(cat "$file")"
        if runs "$3" || ! is_busy "$port"; then
            printf '%s' "$port"
            return
        fi
        if [[ -n "$(running_services)" ]]; then
            die 1 "port $port is in use by somebody else; $name had it, and services that run expect it there:" \
                "$(stop_command) stops them"
        fi
    fi
    port=$2
    while is_busy "$port" || grep -qsx "$port" "$data_dir"/ports/*; do
        # Below the ports that the system gives to clients.
        port=$((20000 + RANDOM % 10000))
    done
    printf '%s' "$port" | tee "$file"
}

# As whom PostgreSQL runs, which refuses root: the words before its command.
postgres_runner=()

choose_postgres_runner() {
    local user
    if [[ "$(id -u)" != 0 ]]; then return; fi
    for user in postgres nobody; do
        if id "$user" >/dev/null 2>&1; then
            postgres_runner=(setpriv "--reuid=$user" "--regid=$(id -g "$user")" --clear-groups)
            postgres_owner=$user
            return
        fi
    done
    die 69 "PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody to run it as"
}

start_postgresql() {
    local home="$data_dir/postgresql" port
    port="$(server_port postgresql 5432 postgresql)"
    choose_postgres_runner
    if ! runs postgresql; then
        mkdir -p "$home"
        if ((${#postgres_runner[@]} > 0)); then
            chown "$postgres_owner" "$home"
            "${postgres_runner[@]}" test -w "$home" ||
                die 1 "PostgreSQL has to run as $postgres_owner, who cannot get into $home; choose a --data-dir that others may pass through"
        fi
        if [[ ! -f "$home/data/PG_VERSION" ]]; then
            say "making a PostgreSQL data directory in $home"
            make_postgresql "$home"
        fi
        await_burial "$home/data/postmaster.pid"
        # No socket file: its path may be too long, and the password is for everybody.
        (
            cd "$home" || exit
            launch postgresql "${postgres_runner[@]}" "$(postgres_program postgres)" -D "$home/data" -p "$port" \
                -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=200
        )
    fi
    # What is set for other servers would lead elsewhere.
    unset PGHOSTADDR PGSERVICE PGSSLMODE PGOPTIONS
    export PGHOST=127.0.0.1 PGPORT=$port PGUSER=postgres PGDATABASE=postgres
    PGPASSWORD="$(secret postgresql)"
    export PGPASSWORD
    await postgresql 60 sql 'SELECT 1'
    export PGDATABASE=sker
}

# await_burial FILE: while the process that the file names is dead but not yet buried by its parent, as just after kill -9:
# PostgreSQL takes it for alive, and refuses.
await_burial() {
    local pid deadline=$((SECONDS + 10))
    read -r pid 2>/dev/null <"$1" || return 0
    while [[ -d "/proc/$pid" && -z "$(started_at "$pid")" ]] && ((SECONDS < deadline)); do sleep 0.1; done
}

# Half of a data directory is made again.
make_postgresql() {
    local home=$1 password_file="$1/password"
    rm -rf "$home/data.new" "$home/data"
    secret postgresql >"$password_file"
    if ((${#postgres_runner[@]} > 0)); then chown "$postgres_owner" "$password_file"; fi
    (
        cd "$home"
        "${postgres_runner[@]}" "$(postgres_program initdb)" -D "$home/data.new" -U postgres --auth=scram-sha-256 \
            --pwfile="$password_file" --encoding=UTF8 --no-locale
    ) >>"$(log_of postgresql)" 2>&1 || give_up "postgresql cannot be set up"
    rm -f "$password_file"
    mv "$home/data.new" "$home/data"
}

start_redis() {
    local home="$data_dir/redis" port password
    port="$(server_port redis 6379 redis)"
    password="$(secret redis)"
    if ! runs redis; then
        mkdir -p "$home"
        # On the command line everybody could read the password.
        printf '%s\n' "bind 127.0.0.1" "port $port" "dir \"$home\"" "requirepass $password" "appendonly yes" \
            'save ""' "daemonize no" >"$home/redis.conf"
        launch redis redis-server "$home/redis.conf"
    fi
    await redis 60 redis_answers "$port" "$password"
    redis_url="redis://:$password@127.0.0.1:$port"
}

redis_answers() (
    exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
    printf 'AUTH %s\r\nPING\r\n' "$2" >&3
    read -r -t 5 line <&3 && read -r -t 5 line <&3 && [[ "$line" == +PONG* ]]
)

# A node of its own: its name, its name server and its cookie have nothing to do with other nodes of this machine.
start_rabbitmq() {
    local home="$data_dir/rabbitmq" port management_port names_port distribution_port password
    port="$(server_port rabbitmq 5672 rabbitmq)"
    management_port="$(server_port rabbitmq-management 15672 rabbitmq)"
    names_port="$(server_port rabbitmq-names 4370 rabbitmq-names)"
    distribution_port="$(server_port rabbitmq-distribution 25672 rabbitmq)"
    password="$(secret rabbitmq)"
    mkdir -p "$home"
    if ! runs rabbitmq-names; then
        launch rabbitmq-names env ERL_EPMD_RELAXED_COMMAND_CHECK=false "$(epmd_program)" -address 127.0.0.1 -port "$names_port"
        await rabbitmq-names 30 is_busy "$names_port"
    fi
    if ! runs rabbitmq; then
        # The user is made at the first start, and there is no guest then.
        printf '%s\n' "listeners.tcp.1 = 127.0.0.1:$port" "management.tcp.ip = 127.0.0.1" \
            "management.tcp.port = $management_port" "default_user = sker" "default_pass = $password" \
            "default_user_tags.administrator = true" "log.console = true" "log.file = false" >"$home/rabbitmq.conf"
        printf '[rabbitmq_management].\n' >"$home/enabled_plugins"
        : >"$home/rabbitmq-env.conf"
        (
            cd "$home" || exit
            # RUNNING_UNDER_SYSTEMD: the script becomes the node instead of staying its parent.
            launch rabbitmq env HOME="$home" RUNNING_UNDER_SYSTEMD=true ERL_EPMD_PORT="$names_port" \
                RABBITMQ_NODENAME=sker@localhost RABBITMQ_DIST_PORT="$distribution_port" \
                RABBITMQ_CONF_ENV_FILE="$home/rabbitmq-env.conf" RABBITMQ_CONFIG_FILE="$home/rabbitmq.conf" \
                RABBITMQ_ENABLED_PLUGINS_FILE="$home/enabled_plugins" RABBITMQ_MNESIA_BASE="$home/mnesia" \
                RABBITMQ_MNESIA_DIR="$home/mnesia/data" RABBITMQ_LOG_BASE="$home" \
                RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}' \
                "$(rabbitmq_program)"
        )
    fi
    await rabbitmq 120 is_busy "$port"
    rabbitmq_url="amqp://sker:$password@127.0.0.1:$port/%2f"
    rabbitmq_management_url="http://127.0.0.1:$management_port"
}

# shellcheck shell=bash
# The platform under docker compose: its secrets, its images, how it is started and stopped. Sourced, never run; $root names the
# repository.
#
# What compose itself has to know stands in $compose_env (.env): secrets, ports, names of images. docker compose reads that file by
# itself when it is called without these scripts. What the services are told stands in .env.microservices.

# shellcheck source=SCRIPTDIR/compose-engine.sh disable=SC2154 # whoever sources this sets root
source "$root/scripts/lib/compose-engine.sh"

compose_file="$root/docker-compose.microservices.yml"
compose_env="${SKER_COMPOSE_ENV:-$root/.env}"
platform_services=(gateway store broker registry database-service)

# compose ARGUMENT...: docker compose for this platform.
compose() {
    if ((${#compose_program[@]} == 0)); then find_compose || die 69 "compose is not installed"; fi
    local arguments=(--project-directory "$root" -f "$compose_file")
    if [[ -e "$compose_env" ]]; then arguments+=(--env-file "$compose_env"); fi
    # Programs that were built before go into images by docker build alone.
    DOCKER_BUILDKIT=1 COMPOSE_DOCKER_CLI_BUILD=1 "${compose_program[@]}" "${arguments[@]}" "$@"
}

# setting NAME DEFAULT: as compose would find it: the environment, then $compose_env, then the default.
setting() {
    local line=''
    if [[ -n "${!1:-}" ]]; then
        printf '%s' "${!1}"
        return
    fi
    if [[ -e "$compose_env" ]]; then line="$(grep -E "^$1=" "$compose_env" | tail -n 1)" || true; fi
    line=${line#*=}
    printf '%s' "${line:-$2}"
}

# make_secrets: adds to $compose_env, mode 0600, what is not in it yet. A value that is there stays, so passwords of data that exist
# stay what they are.
make_secrets() {
    local name project made=()
    project="$(setting COMPOSE_PROJECT_NAME sker)"
    if [[ ! -e "$compose_env" && -n "$(docker volume ls --quiet --filter "name=^${project}_postgres-data$")" ]]; then
        die 1 "there are data of the project $project (volume ${project}_postgres-data), but $compose_env, which has their passwords," \
            "is gone: put it back, or give the data up: docker volume ls --filter name=^${project}_, docker volume rm ..."
    fi
    if [[ ! -e "$compose_env" ]]; then
        (umask 077 && printf '%s\n' '# What docker compose has to know of this installation. Keep it as long as the data: it has their passwords.' \
            >"$compose_env") || die 1 "cannot write $compose_env"
    fi
    chmod 600 "$compose_env"
    # A last line without an end would swallow the next.
    if [[ -n "$(tail -c 1 "$compose_env")" ]]; then printf '\n' >>"$compose_env"; fi
    add() {
        if ! grep -qE "^$1=." "$compose_env"; then
            printf '%s=%s\n' "$1" "$2" >>"$compose_env"
            made+=("$1")
        fi
    }
    add COMPOSE_PROJECT_NAME "$project"
    add NODE_ENV "${NODE_ENV:-production}"
    for name in JWT_SECRET POSTGRES_PASSWORD REPLICATION_PASSWORD STORE_DB_PASSWORD REGISTRY_DB_PASSWORD \
        DATABASE_SERVICE_DB_PASSWORD REDIS_PASSWORD RABBITMQ_PASSWORD SKER_ADMIN_PASSWORD; do
        # 192 bits each, and nothing in them that a URL would have to escape.
        add "$name" "$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')"
    done
    if ((${#made[@]} > 2)); then say "made the secrets in $compose_env"; fi
}

image_name() {
    printf '%s%s:%s' "$(setting SKER_IMAGE_PREFIX sker/)" "$1" "$(setting SKER_TAG latest)"
}

have_images() {
    local service
    for service in "${platform_services[@]}"; do
        docker image inspect "$(image_name "$service")" >/dev/null 2>&1 || return 1
    done
}

# current_commit: of the sources, marked when they are changed; SKER_COMMIT where there is no repository to ask.
current_commit() {
    local commit
    if [[ -n "${SKER_COMMIT:-}" ]]; then
        printf '%s' "$SKER_COMMIT"
    elif ! commit="$(git -C "$root" rev-parse --short=12 HEAD 2>/dev/null)"; then
        printf unknown
    elif [[ -n "$(git -C "$root" status --porcelain 2>/dev/null | head -n 1)" ]]; then
        printf '%s-dirty' "$commit"
    else
        printf '%s' "$commit"
    fi
}

# note_old_images: says so when the images are of another commit than the sources.
note_old_images() {
    local built now
    built="$(docker image inspect --format '{{index .Config.Labels "org.opencontainers.image.revision"}}' "$(image_name gateway)")"
    now="$(current_commit)"
    if [[ "$now" != unknown && "$built" != "$now" ]]; then say "the images are of commit $built, the sources of $now; --build makes new ones"; fi
}

# build_images: of the five services, from the sources or, when SKER_BIN_DIR names a directory of programs that were built before,
# from these. SKER_EXTRA_CA names a file of certificates that the build is to trust as well.
build_images() {
    local service arguments=() bin="$root/deploy/docker/bin" version
    version="$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$root/Cargo.toml")"
    arguments=(--build-arg "COMMIT=$(current_commit)" --build-arg "VERSION=$version" --build-arg "VARIANT=$(setting SKER_VARIANT release)")
    for service in DEBIAN_IMAGE RUST_IMAGE PROFILE; do
        if [[ -n "$(setting "$service" '')" ]]; then arguments+=(--build-arg "$service=$(setting "$service" '')"); fi
    done
    if [[ -n "${SKER_EXTRA_CA:-}" ]]; then
        [[ -r "$SKER_EXTRA_CA" ]] || die 64 "SKER_EXTRA_CA names no file that can be read: $SKER_EXTRA_CA"
        arguments+=(--secret "id=extra-ca,src=$SKER_EXTRA_CA")
    fi
    if [[ -n "${SKER_BIN_DIR:-}" ]]; then
        for service in "${platform_services[@]}"; do
            [[ -x "$SKER_BIN_DIR/sker-$service" ]] || die 64 "SKER_BIN_DIR has no program sker-$service: $SKER_BIN_DIR"
            # Also over a newer one, which a run that was interrupted has left.
            cp -f "$SKER_BIN_DIR/sker-$service" "$bin/"
        done
        arguments+=(--build-arg BINARIES=prebuilt)
    fi
    for service in "${platform_services[@]}"; do
        say "building $(image_name "$service")"
        docker_build --quiet "${arguments[@]}" --file "$root/deploy/docker/Dockerfile" --target "$service" \
            --tag "$(image_name "$service")" "$root" >/dev/null || die 1 "the image of $service cannot be built;" \
            "base images that no registry gives are made by deploy/docker/offline/build.sh"
    done
    rm -f "$bin"/sker-*
}

# ports_are_free: ends with every published port that somebody else has. Asked only while nothing of ours runs.
ports_are_free() {
    local name port faults=0 usual
    for usual in SKER_HTTP_PORT:80 SKER_GATEWAY_PORT:3000 SKER_STORE_PORT:3001 SKER_REGISTRY_PORT:8080 \
        SKER_DATABASE_SERVICE_PORT:8089 SKER_RABBITMQ_MANAGEMENT_PORT:15672; do
        name=${usual%%:*}
        port="$(setting "$name" "${usual##*:}")"
        if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            warn "error: port $port is in use: stop what uses it, or set $name in $compose_env"
            faults=1
        fi
    done
    ((faults == 0)) || exit 1
}

is_up() {
    [[ -n "$(compose ps --quiet 2>/dev/null)" ]]
}

# http_status PORT PATH: of an answer, or nothing.
http_status() (
    exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
    printf 'GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "$2" >&3
    read -r -t 5 line <&3 || exit 1
    line=${line#HTTP/* }
    printf '%s' "${line%% *}"
) 2>/dev/null

# await_platform SECONDS: until a request through nginx finds a gateway that is ready.
await_platform() {
    local port deadline=$((SECONDS + $1))
    port="$(setting SKER_HTTP_PORT 80)"
    until [[ "$(http_status "$port" /ready)" == 200 ]]; do
        if ((SECONDS >= deadline)); then
            compose ps >&2
            die 1 "the platform is not ready after $1 s; scripts/logs-microservices.sh shows what it says"
        fi
        sleep 0.5
    done
}

# replicas SERVICE USUAL: how many there are, or how many there are to be when there is none.
replicas() {
    local count
    count="$(compose ps --quiet "$1" 2>/dev/null | wc -l)"
    printf '%s' "$((count > 0 ? count : $2))"
}

# start_compose GATEWAYS BROKERS [--build]: starts what is not running, with so many replicas (empty: as many as there are, or one
# gateway and two brokers), and waits until it is ready.
start_compose() {
    require_engine compose
    make_secrets
    if [[ "${3:-}" == --build ]] || ! have_images; then build_images; else note_old_images; fi
    if ! is_up; then ports_are_free; fi
    compose up -d --no-build --remove-orphans --scale "gateway=${1:-$(replicas gateway 1)}" --scale "broker=${2:-$(replicas broker 2)}" || {
        compose ps >&2
        die 1 "compose could not start everything; scripts/logs-microservices.sh SERVICE shows why"
    }
    await_platform 120
    say ""
    say "The platform is ready ($(setting NODE_ENV development))."
    say "  gateway, through nginx   http://localhost:$(setting SKER_HTTP_PORT 80) and http://localhost:$(setting SKER_GATEWAY_PORT 3000)"
    say "  store                    http://127.0.0.1:$(setting SKER_STORE_PORT 3001)"
    say "  registry                 http://127.0.0.1:$(setting SKER_REGISTRY_PORT 8080)"
    say "  database-service         http://127.0.0.1:$(setting SKER_DATABASE_SERVICE_PORT 8089)"
    say "  RabbitMQ's pages         http://127.0.0.1:$(setting SKER_RABBITMQ_MANAGEMENT_PORT 15672) (sker, RABBITMQ_PASSWORD in $compose_env)"
    say "The administrator is $(setting SKER_ADMIN_EMAIL admin@sker.local); the password is SKER_ADMIN_PASSWORD in $compose_env"
}

# stop_compose DATA: each service finishes what is in flight; data stay (keep), or go (--volumes).
stop_compose() {
    require_engine compose
    if [[ "$1" == --volumes ]]; then compose down --volumes --remove-orphans; else compose down --remove-orphans; fi
}

#!/usr/bin/env bash
# Tests the platform under docker compose on a real engine: builds, starts, does the demo's flow through nginx, scales up and down
# under load, kills a gateway, a broker, RabbitMQ and PostgreSQL, shows that nothing accepted is lost, stops, starts again with the
# data intact, and cleans up. Prints what each step brought and how long it took.
#
# usage: scripts/test-compose.sh [--keep] [--offline] [--no-install]
#
#   --keep        leaves the platform running at the end, and says how to remove it
#   --offline     makes base images that are missing by deploy/docker/offline/build.sh, without asking a registry first
#   --no-install  installs nothing; without it, and as root or with sudo on Debian or Ubuntu, a missing engine is installed
#
# Its project is sker-test, with secrets and volumes of its own, so a platform that is there is not touched; ports have to be free:
# SKER_HTTP_PORT (80), SKER_GATEWAY_PORT (3000) and the others of docs/deployment.md choose others. SKER_BIN_DIR names a directory of
# programs that were built before, SKER_EXTRA_CA certificates that a build is to trust. An engine that does not run is started for
# the test when root runs it, and ended with it.
#
# Status: 0 every step went well, 1 not every one, 64 wrong usage, 69 something is not installed.
set -euo pipefail

root="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)"
keep=no offline=no may_install=yes

while (($# > 0)); do
    case $1 in
        --help | -h)
            sed -n '2,/^set -euo/{/^set -euo/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
            exit 0
            ;;
        --keep) keep=yes ;;
        --offline) offline=yes ;;
        --no-install) may_install=no ;;
        *)
            printf 'error: unknown argument: %s (see --help)\n' "$1" >&2
            exit 64
            ;;
    esac
    shift
done

work="$(mktemp -d)"
export SKER_COMPOSE_ENV="$work/compose.env" COMPOSE_PROJECT_NAME=sker-test NODE_ENV=production
# shellcheck source=SCRIPTDIR/lib/compose.sh
source "$root/scripts/lib/compose.sh"
client="$root/scripts/lib/compose-client.py"
url="http://127.0.0.1:$(setting SKER_HTTP_PORT 80)"
state="$work/state.json"
faults=0 engine_pid=''

# step NAME FUNCTION...: prints what it brought; what it wrote is shown when it failed.
step() {
    local name=$1 started status end
    shift
    : >"$work/detail"
    started="$(date +%s.%N)"
    set +e
    (
        set -e
        "$@"
    ) >"$work/output" 2>&1
    status=$?
    set -e
    end="$(awk -v a="$started" -v b="$(date +%s.%N)" 'BEGIN { printf "%.1f", b - a }')"
    if ((status == 0)); then
        printf 'ok    %6s s  %s\n' "$end" "$name"
    else
        printf 'FAIL  %6s s  %s\n' "$end" "$name"
        tail -n 40 "$work/output" | sed 's/^/        | /'
        faults=$((faults + 1))
    fi
    sed 's/^/                  /' "$work/detail"
    return 0
}

detail() {
    printf '%s\n' "$*" >>"$work/detail"
}

clean_up() {
    local status=$?
    trap - EXIT
    if [[ "$keep" == yes && -s "$SKER_COMPOSE_ENV" ]]; then
        say "It goes on to run. To remove it:"
        say "  ${compose_program[*]} -p sker-test --env-file $SKER_COMPOSE_ENV -f $compose_file down --volumes && rm -r $work"
    else
        if [[ -s "$SKER_COMPOSE_ENV" ]]; then compose down --volumes --remove-orphans --timeout 20 >/dev/null 2>&1 || true; fi
        rm -rf "$work"
        if [[ -n "$engine_pid" ]]; then
            kill "$engine_pid" 2>/dev/null || true
            wait "$engine_pid" 2>/dev/null || true
        fi
    fi
    exit "$status"
}
trap clean_up EXIT
trap 'exit 1' INT TERM

# engine: there is one that answers, and compose.
engine() {
    local missing=() as_root=() package
    command -v docker >/dev/null && command -v dockerd >/dev/null || docker info >/dev/null 2>&1 || missing+=(docker.io)
    find_compose || missing+=(docker-compose)
    command -v python3 >/dev/null || missing+=(python3)
    command -v curl >/dev/null || missing+=(curl)
    if ((${#missing[@]} == 0)); then return; fi
    if [[ "$may_install" == no ]] || ! command -v apt-get >/dev/null; then
        die 69 "these are not installed: ${missing[*]} (names of Debian's packages)"
    fi
    if [[ "$(id -u)" != 0 ]]; then
        command -v sudo >/dev/null || die 69 "these are not installed: ${missing[*]} (names of Debian's packages)"
        as_root=(sudo)
    fi
    "${as_root[@]}" apt-get update -qq
    if [[ " ${missing[*]} " == *' docker.io '* ]]; then
        # Packages of their own on newer systems, where docker.io does without them.
        for package in docker-cli docker-buildx; do
            if apt-cache show "$package" >/dev/null 2>&1; then missing+=("$package"); fi
        done
    fi
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" iptables ca-certificates
    detail "installed ${missing[*]}"
}

start_engine() {
    if docker info >/dev/null 2>&1; then return; fi
    [[ "$(id -u)" == 0 ]] || die 69 "the container engine does not answer: start it, or let this user use it (group docker)"
    dockerd >"$work/dockerd.log" 2>&1 &
    engine_pid=$!
    for _ in $(seq 60); do
        if docker info >/dev/null 2>&1; then return; fi
        sleep 0.5
    done
    tail -n 20 "$work/dockerd.log" >&2
    die 69 "the container engine cannot be started"
}

base_images() {
    local image name missing=() variable
    for name in debian rust postgres redis rabbitmq nginx; do
        variable="$(tr '[:lower:]' '[:upper:]' <<<"$name")_IMAGE"
        image="${!variable:-$("$root/deploy/docker/offline/build.sh" --list "$name")}"
        if docker image inspect "$image" >/dev/null 2>&1; then continue; fi
        if [[ "$offline" == no ]] && timeout 300 docker pull -q "$image"; then
            detail "pulled $image"
        else
            missing+=("$name")
        fi
    done
    if ((${#missing[@]} > 0)); then
        "$root/deploy/docker/offline/build.sh" "${missing[@]}" | tee -a "$work/detail"
    fi
}

# build: and how large each image is, and what it says it is.
build() {
    local service size version
    build_images
    for service in "${platform_services[@]}"; do
        size="$(docker image inspect --format '{{.Size}}' "$(image_name "$service")")"
        version="$(docker run --rm "$(image_name "$service")" --version)"
        detail "$(image_name "$service"): $((size / 1048576)) MiB, $version," \
            "$(docker image inspect --format '{{index .Config.Labels "org.opencontainers.image.revision"}}' "$(image_name "$service")")"
        # Libraries and certificates are 4 MiB of it.
        if ((size > 44 * 1048576)) && [[ -z "${SKER_BIN_DIR:-}" ]]; then die 1 "the image of $service is too large: $size bytes"; fi
    done
}

examples_are_refused() {
    local status=0 answer server
    answer="$(docker run --rm -e NODE_ENV=production -e JWT_SECRET=change-me-this-secret-is-for-a-first-look-only \
        "$(image_name store)" --check-config 2>&1)" || status=$?
    [[ "$status" == 64 && "$answer" == *'is a documented example'* ]] ||
        die 1 "the store takes a documented example in production (status $status): $answer"
    for server in postgres:POSTGRES_PASSWORD redis:REDIS_PASSWORD rabbitmq:RABBITMQ_DEFAULT_PASS; do
        status=0
        compose run --rm --no-deps -T -e "${server#*:}=change-me-${server%%:*}" "${server%%:*}" true </dev/null || status=$?
        [[ "$status" == 64 ]] || die 1 "${server%%:*} takes an example in production (status $status)"
    done
    [[ "$(stat -c %a "$SKER_COMPOSE_ENV")" == 600 ]] || die 1 "others may read the secrets"
}

containers() {
    compose ps --quiet "$@"
}

# confinement: nobody is root, nothing but nginx listens outside, file systems cannot be written, memory is limited.
confinement() {
    local id name users ports
    for id in $(containers); do
        name="$(docker inspect --format '{{.Name}}' "$id")"
        [[ "$(docker inspect --format '{{.HostConfig.ReadonlyRootfs}}' "$id")" == true ]] || die 1 "$name can write to its root"
        [[ "$(docker inspect --format '{{.HostConfig.Memory}}' "$id")" != 0 ]] || die 1 "$name has no limit of memory"
        users="$(docker top "$id" -o pid,uid | awk 'NR > 1 { print $2 }' | sort -u)"
        [[ -n "$users" ]] || die 1 "nobody runs in $name"
        if grep -qx 0 <<<"$users"; then die 1 "$name runs as root"; fi
        ports="$(docker port "$id")"
        if [[ "$name" != *nginx* && -n "$ports" ]] && grep -qv -- '-> 127.0.0.1:' <<<"$ports"; then
            die 1 "$name is reachable from outside: $ports"
        fi
    done
    detail "$(containers | wc -l) containers"
}

# replication: what is written to the primary can be read at the replica, which refuses writes.
replication() {
    local answer
    sql_in() { compose exec -T "$1" psql -X -q -A -t -U postgres -d sker -c "$2" </dev/null; }
    sql_in postgres 'CREATE TABLE IF NOT EXISTS public.probe (n int); INSERT INTO public.probe VALUES (1)'
    for _ in $(seq 60); do
        answer="$(sql_in postgres-replica 'SELECT count(*) FROM public.probe' 2>/dev/null)" || true
        if [[ -n "$answer" && "$answer" != 0 ]]; then break; fi
        sleep 0.5
    done
    [[ -n "$answer" && "$answer" != 0 ]] || die 1 "the replica does not follow"
    if sql_in postgres-replica 'INSERT INTO public.probe VALUES (2)'; then die 1 "the replica takes writes"; fi
    sql_in postgres 'DROP TABLE public.probe'
    detail "$(sql_in postgres "SELECT state || ', ' || pg_wal_lsn_diff(sent_lsn, replay_lsn) || ' bytes behind' FROM pg_stat_replication")"
}

# entrance: what nginx does with requests that are none, and what it writes down.
entrance() {
    local answer
    answer="$(curl -s -o /dev/null -w '%{http_version} %{http_code}' --http2-prior-knowledge "$url/health")"
    [[ "$answer" == '2 200' ]] || die 1 "HTTP/2 without TLS: $answer"
    answer="$(curl -s -o /dev/null -w '%{http_code}' "$url/ws?token=a-secret-in-a-query")"
    [[ "$answer" == 401 ]] || die 1 "a socket with a wrong token: $answer"
    curl -s -o /dev/null --path-as-is "$url/api/v1/nowhere/../x?token=a-secret-in-a-query"
    answer="$(head -c 70000000 /dev/zero | curl -s -H 'Expect:' -w ' %{http_code} %{content_type}' -X POST --data-binary @- "$url/api/v1/projects")"
    [[ "$answer" == *'"code":"payload_too_large"'*' 413 application/problem+json' ]] || die 1 "a large body: $answer"
    answer="$(curl -s -o /dev/null -w '%{http_code}' -H 'Upgrade: h2c' -H 'Connection: Upgrade, HTTP2-Settings' -H 'HTTP2-Settings: AAMAAABk' "$url/health")"
    [[ "$answer" == 200 ]] || die 1 "an upgrade to h2c: $answer"
    # Into a file: grep -q would end the pipe when it finds something, and with it the pipe's success.
    compose logs --no-color nginx gateway >"$work/logs" 2>&1
    grep -q '"path":"/ws"' "$work/logs" || die 1 "nginx logs no requests"
    if grep -q a-secret-in-a-query "$work/logs"; then die 1 "a query string was logged"; fi
}

demo_flow() {
    "$client" flow "$url" "$state" "$root/README.md" | tee -a "$work/detail"
}

# under_load FAILURES_THAT_MAY_BE COMMAND...: reads, writes, tasks and sockets go on while the command runs. Failures that may be:
# none; writes (requests that may have had an effect, and nobody may repeat); any.
under_load() {
    local may=$1 status=0 failed
    shift
    rm -f "$work/stop"
    "$client" load "$url" "$state" "$work/stop" >"$work/report" &
    loader=$!
    # Also when the command gives up: the next step is not to have two of them.
    trap 'kill "$loader" 2>/dev/null || true' EXIT
    sleep 3
    "$@" || status=$?
    sleep 3
    : >"$work/stop"
    wait "$loader" || status=$?
    cat "$work/report"
    detail "$(cat "$work/report")"
    ((status == 0)) || return "$status"
    failed="$(python3 -c 'import json, sys
report, may = json.load(open(sys.argv[1])), sys.argv[2]
print(0 if may == "any" else report["reads_failed"] + (0 if may == "writes" else report["writes_failed"] + report["task_retries"]))' \
        "$work/report" "$may")"
    [[ "$failed" == 0 ]] || die 1 "$failed requests failed that may not"
    "$client" verify "$url" "$state" >"$work/verified" || status=$?
    detail "$(cat "$work/verified")"
    return "$status"
}

scale() {
    compose up -d --no-build --no-recreate --scale "gateway=$1" --scale "broker=$2"
}

scale_and_settle() {
    scale "$1" "$2"
    sleep 5
    [[ "$(containers gateway | wc -l) $(containers broker | wc -l)" == "$1 $2" ]] || die 1 "not as many replicas as asked for"
}

# shot SERVICE: kills one replica the hard way.
shot() {
    local all
    mapfile -t all < <(containers "$1")
    docker kill --signal KILL "${all[0]}" >/dev/null || die 1 "no $1 can be killed"
}

kill_and_bring_back() {
    local service=$1 away=$2 gateways=$3 brokers=$4
    shot "$service"
    sleep "$away"
    scale "$gateways" "$brokers"
    await_platform 60
}

await_healthy() {
    local id deadline=$((SECONDS + 120))
    for id in $(containers); do
        until [[ "$(docker inspect --format '{{.State.Health.Status}}' "$id")" == healthy ]]; do
            ((SECONDS < deadline)) || die 1 "$(docker inspect --format '{{.Name}}' "$id") is not healthy"
            sleep 0.5
        done
    done
}

stop_all() {
    compose stop
    local id status
    for id in $(docker ps --all --quiet --filter label=com.docker.compose.project=sker-test); do
        status="$(docker inspect --format '{{.State.ExitCode}}' "$id")"
        # 137: it had to be killed.
        [[ "$status" != 137 ]] || die 1 "$(docker inspect --format '{{.Name}}' "$id") did not stop by itself"
    done
    compose down --remove-orphans
}

data_are_there() {
    "$client" verify "$url" "$state" | tee -a "$work/detail"
}

step 'an engine' engine
if ((faults > 0)); then exit 69; fi
find_compose
start_engine
require_engine compose
detail_of_engine="$(docker info --format '{{.ServerVersion}}'), $("${compose_program[@]}" version --short)"
say "engine $detail_of_engine"
step 'base images' base_images
# What an earlier run that was killed has left.
printf '' >"$SKER_COMPOSE_ENV"
compose down --volumes --remove-orphans >/dev/null 2>&1 || true
rm -f "$SKER_COMPOSE_ENV"
step 'build' build
if ((faults > 0)); then exit 1; fi
step 'start' start_compose 1 2
if ((faults > 0)); then exit 1; fi
step 'example secrets are refused' examples_are_refused
step 'every container is healthy' await_healthy
step 'containers are confined' confinement
step 'the replica follows' replication
step 'the entrance' entrance
step "the demo's flow" demo_flow
step 'start again while it runs' start_compose 1 2
step 'scale up under load' under_load none scale_and_settle 3 5
step 'scale down under load' under_load none scale_and_settle 1 2
step 'two gateways' scale_and_settle 2 2
step 'a gateway killed' under_load writes kill_and_bring_back gateway 3 2 2
step 'a broker killed' under_load none kill_and_bring_back broker 3 2 2
step 'RabbitMQ killed' under_load none kill_and_bring_back rabbitmq 5 2 2
step 'PostgreSQL killed' under_load any kill_and_bring_back postgres 5 2 2
step 'every container is healthy' await_healthy
step 'the replica follows' replication
step 'stop' stop_all
step 'start with the same data' start_compose 2 2
step 'what was accepted is there' data_are_there
if [[ "$keep" == no ]]; then step 'clean up' compose down --volumes --remove-orphans; fi
if ((faults > 0)); then
    say "$faults steps failed"
    exit 1
fi
say "all is well"

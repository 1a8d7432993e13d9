# shellcheck shell=bash
# The container engine: which client builds images, which speaks compose, how both are installed. Sourced, never run.

# shellcheck source=SCRIPTDIR/messages.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/messages.sh"

# builder: the docker client that builds with BuildKit. From version 23 on a client needs the plugin buildx for that; an older one
# does it alone.
builder=''

find_builder() {
    local client version
    if [[ -n "$builder" ]]; then return; fi
    for client in $(type -ap docker); do
        version="$("$client" --version | sed -n 's/^Docker version \([0-9]*\).*/\1/p')"
        if "$client" buildx version >/dev/null 2>&1 || ((${version:-99} < 23)); then
            builder=$client
            return
        fi
    done
    return 1
}

# docker_build ARGUMENT...: docker build with BuildKit.
docker_build() {
    find_builder || die 69 "no docker client on the PATH builds with BuildKit: install the plugin docker-buildx"
    DOCKER_BUILDKIT=1 "$builder" build "$@"
}

# compose_program: the words that run compose: `docker compose` (v2), or docker-compose from 1.29 on.
compose_program=()

find_compose() {
    local version
    if docker compose version >/dev/null 2>&1; then
        compose_program=(docker compose)
    elif version="$(docker-compose version --short 2>/dev/null)" && [[ "$(printf '1.29\n%s\n' "${version#v}" | sort -V | head -n 1)" == 1.29 ]]; then
        # shellcheck disable=SC2034 # for those who source this
        compose_program=(docker-compose)
    else
        return 1
    fi
}

# require_engine WHAT: `engine`, or `compose` as well; ends with what is missing and how to get it.
require_engine() {
    command -v docker >/dev/null ||
        die 69 "docker is not installed: https://docs.docker.com/engine/install/, or on Debian: sudo apt-get install docker.io"
    docker info >/dev/null 2>&1 ||
        die 69 "the container engine does not answer: start it (sudo systemctl start docker), or let this user use it (group docker)"
    find_builder || die 69 "no docker client on the PATH builds with BuildKit: install the plugin docker-buildx"
    if [[ "${1:-}" == compose ]]; then
        find_compose || die 69 "compose is not installed: the plugin docker-compose-plugin (v2), or docker-compose from 1.29 on"
    fi
}

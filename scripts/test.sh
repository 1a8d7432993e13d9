#!/usr/bin/env bash
# Runs every test of the workspace and ends with one line of counts.
#
# Needs a Rust toolchain, a C compiler and linker (SQLite is built from source), PostgreSQL, MariaDB, Redis and RabbitMQ,
# which `cargo xtask test` starts in temporary directories on free ports, and nginx, which tests start. On Debian and Ubuntu what
# is missing is installed, and no service of it is started; elsewhere it is said what to install. Nothing is skipped. A server
# whose variable is set
# (SKER_TEST_POSTGRES_URL, SKER_TEST_MARIADB_URL, SKER_TEST_REDIS_URL, SKER_TEST_RABBITMQ_URL with
# SKER_TEST_RABBITMQ_MANAGEMENT_URL) is used instead of one of the run's own.
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ "${1:-}" == "--help" || "${1:-}" == "-h" ]]; then
    sed -n '2,/^set -euo/{/^set -euo/d;s/^# \{0,1\}//;p}' scripts/test.sh
    echo
    echo "usage: scripts/test.sh [ARGUMENT OF cargo test ...]"
    exit 0
fi

missing=()

# need PACKAGE PROGRAM ...: the package is missing unless one of the programs is there, by its name or by a path with patterns.
need() {
    local package="$1" program
    shift
    for program in "$@"; do
        command -v "$program" >/dev/null 2>&1 && return
        compgen -G "$program" >/dev/null && return
    done
    missing+=("$package")
}

need cargo cargo
need build-essential cc
need curl curl
# All of them in any case: tests that kill a server start one of their own.
need postgresql initdb '/usr/lib/postgresql/*/bin/initdb'
need mariadb-server mariadbd /usr/sbin/mariadbd
need redis-server redis-server
need nginx nginx /usr/sbin/nginx
need rabbitmq-server /usr/lib/rabbitmq/bin/rabbitmq-server rabbitmq-server

# install PACKAGE ...: from Debian's packages. invoke-rc.d starts no service while policy-rc.d forbids it.
install() (
    as_root=() policy=/usr/sbin/policy-rc.d
    [[ "$(id -u)" == 0 ]] || as_root=(sudo)
    if [[ ! -e "$policy" ]]; then
        # Also when this is interrupted: left behind it would go on to forbid.
        trap '"${as_root[@]}" rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
        "${as_root[@]}" chmod 755 "$policy"
    fi
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get install -y -qq --no-install-recommends "$@" >/dev/null
)

if ((${#missing[@]})); then
    if command -v apt-get >/dev/null 2>&1 && { [[ "$(id -u)" == 0 ]] || command -v sudo >/dev/null 2>&1; }; then
        echo "installing ${missing[*]}" >&2
        install "${missing[@]}"
    else
        echo "error: missing programs; install the packages that have them (on Debian: ${missing[*]})" >&2
        exit 1
    fi
fi

log="$(mktemp)"
trap 'rm -f "$log"' EXIT

status=0
cargo xtask test -- "$@" 2>&1 | tee "$log" || status=$?

awk '/^test result:/ { passed += $4; failed += $6; ignored += $8 }
     END { printf "%d passed, %d failed, %d skipped\n", passed, failed, ignored }' "$log"
exit "$status"

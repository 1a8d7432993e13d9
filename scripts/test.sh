#!/usr/bin/env bash
# Runs every test of the workspace and ends with one line of counts.
#
# Needs a Rust toolchain and a C compiler and linker (SQLite is built from source); on Debian and Ubuntu it installs what
# is missing, elsewhere it says what to install. Nothing is skipped.
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ "${1:-}" == "--help" || "${1:-}" == "-h" ]]; then
    sed -n '2,5s/^# \{0,1\}//p' "$0"
    echo
    echo "usage: scripts/test.sh [ARGUMENT OF cargo test ...]"
    exit 0
fi

# need COMMAND PACKAGE: installs the package when the command is not there.
need() {
    command -v "$1" >/dev/null 2>&1 && return
    if command -v apt-get >/dev/null 2>&1 && [[ "$(id -u)" == 0 ]]; then
        echo "installing $2 for $1" >&2
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$2" >/dev/null
    elif command -v apt-get >/dev/null 2>&1 && command -v sudo >/dev/null 2>&1; then
        echo "installing $2 for $1" >&2
        sudo apt-get update -qq && sudo DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$2" >/dev/null
    else
        echo "error: '$1' is missing; install the package that has it ($2 on Debian)" >&2
        exit 1
    fi
}

need cargo cargo
need cc build-essential
need curl curl

jobs=(-j "${CARGO_BUILD_JOBS:-2}")
log="$(mktemp)"
trap 'rm -f "$log"' EXIT

# The end-to-end tests run the real program, which `cargo test` alone does not build.
cargo build --locked --workspace --bins "${jobs[@]}"
status=0
cargo test --locked --workspace --no-fail-fast "${jobs[@]}" "$@" 2>&1 | tee "$log" || status=$?

awk '/^test result:/ { passed += $4; failed += $6; ignored += $8 }
     END { printf "%d passed, %d failed, %d skipped\n", passed, failed, ignored }' "$log"
exit "$status"

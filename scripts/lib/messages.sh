# shellcheck shell=bash
# What scripts tell whoever runs them. Sourced, never run.

say() {
    printf '%s\n' "$*"
}

warn() {
    printf '%s\n' "$*" >&2
}

# die STATUS MESSAGE...
die() {
    local status=$1
    shift
    printf 'error: %s\n' "$*" >&2
    exit "$status"
}

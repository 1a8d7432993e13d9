#!/bin/sh
# Starts database-service alone: scripts/start.sh config/development.env [flags of the program]
# Lines of the file are NAME=value; what the environment has already wins. The program is SKER_BIN_DIR/sker-database-service
# when SKER_BIN_DIR is set, else the one on the PATH, else cargo builds and runs it.
set -eu

if [ "$#" -lt 1 ] || [ ! -r "$1" ]; then
    echo "usage: $0 FILE.env [flags]; FILE.env must be readable, for example config/development.env" >&2
    exit 64
fi
file=$1
shift

while IFS= read -r line || [ -n "$line" ]; do
    case $line in
        '' | '#'*) continue ;;
        [A-Za-z_]*=*) ;;
        *)
            echo "$file: not NAME=value: ${line%%=*}" >&2
            exit 64
            ;;
    esac
    name=${line%%=*}
    case $name in
        *[!A-Za-z0-9_]*)
            echo "$file: not a name: $name" >&2
            exit 64
            ;;
    esac
    # Taken as it is, never expanded: a password may have any character in it.
    if ! printenv "$name" > /dev/null; then
        export "$name=${line#*=}"
    fi
done < "$file"

if [ -n "${SKER_BIN_DIR:-}" ]; then
    exec "$SKER_BIN_DIR/sker-database-service" "$@"
elif command -v sker-database-service > /dev/null; then
    exec sker-database-service "$@"
else
    root=$(CDPATH='' cd -- "$(dirname -- "$0")/../../.." && pwd)
    exec cargo run --quiet --manifest-path "$root/Cargo.toml" -p sker-database-service --bin sker-database-service -- "$@"
fi

#!/usr/bin/env bash
# Starts PostgreSQL as the official image does: POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB and POSTGRES_INITDB_ARGS, each also as
# NAME_FILE; POSTGRES_HOST_AUTH_METHOD and PGDATA. At the first start it makes the data directory and runs
# /docker-entrypoint-initdb.d/*.sh, *.sql and *.sql.gz.
set -Eeuo pipefail

# from_file NAME [DEFAULT]: exports NAME, read from the file that NAME_FILE names when that is set.
from_file() {
    local name=$1 file="$1_FILE" value=${2:-}
    if [[ -n "${!name:-}" && -n "${!file:-}" ]]; then
        printf 'error: both %s and %s are set\n' "$name" "$file" >&2
        exit 1
    fi
    if [[ -n "${!name:-}" ]]; then value=${!name}; elif [[ -n "${!file:-}" ]]; then value="$(<"${!file}")"; fi
    export "$name=$value"
    unset "$file"
}

make_data() {
    from_file POSTGRES_PASSWORD
    from_file POSTGRES_USER postgres
    from_file POSTGRES_DB "$POSTGRES_USER"
    from_file POSTGRES_INITDB_ARGS
    local method=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}
    if [[ -z "$POSTGRES_PASSWORD" && "$method" != trust ]]; then
        printf 'error: there is no data yet, and POSTGRES_PASSWORD is not set\n' >&2
        exit 1
    fi
    # Unfinished is not made: initdb refuses a directory with something in it, and the mark of a finished one is the move.
    local new="$PGDATA.new"
    rm -rf "$new"
    # shellcheck disable=SC2086 # several arguments
    initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") --encoding=UTF8 --locale=C.UTF-8 \
        -D "$new" $POSTGRES_INITDB_ARGS
    printf '\nhost all all all %s\n' "$method" >>"$new/pg_hba.conf"
    printf "listen_addresses = '*'\n" >>"$new/postgresql.conf"
    PGDATA=$new
    # No network before all is made.
    pg_ctl -D "$new" -w start -o "-c listen_addresses='' -c unix_socket_directories=/var/run/postgresql"
    export PGHOST=/var/run/postgresql PGUSER=$POSTGRES_USER PGPASSWORD=$POSTGRES_PASSWORD
    if [[ "$POSTGRES_DB" != postgres ]]; then
        psql -X -q -v ON_ERROR_STOP=1 -d postgres -v db="$POSTGRES_DB" <<<'CREATE DATABASE :"db";'
    fi
    run_scripts
    pg_ctl -D "$new" -m fast -w stop
    unset PGHOST PGUSER PGPASSWORD
    PGDATA=${new%.new}
    mv "$new" "$PGDATA"
}

run_scripts() {
    local script
    for script in /docker-entrypoint-initdb.d/*; do
        case $script in
            *.sh)
                printf 'running %s\n' "$script"
                if [[ -x "$script" ]]; then
                    "$script"
                else
                    # shellcheck source=/dev/null
                    source "$script"
                fi
                ;;
            *.sql) psql -X -v ON_ERROR_STOP=1 -d "$POSTGRES_DB" -f "$script" ;;
            *.sql.gz) gunzip -c "$script" | psql -X -v ON_ERROR_STOP=1 -d "$POSTGRES_DB" ;;
        esac
    done
}

if [[ "${1:-}" == -* ]]; then set -- postgres "$@"; fi
if [[ "${1:-}" == postgres ]]; then
    if [[ "$(id -u)" == 0 ]]; then
        install -d -o postgres -g postgres -m 700 "$(dirname -- "$PGDATA")" "$PGDATA"
        chown postgres:postgres /var/run/postgresql
        exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
    fi
    mkdir -p "$(dirname -- "$PGDATA")"
    if [[ ! -s "$PGDATA/PG_VERSION" ]]; then
        rmdir "$PGDATA" 2>/dev/null || true
        make_data
    fi
    # A password does not have to stay in the environment of every backend.
    unset POSTGRES_PASSWORD POSTGRES_INITDB_ARGS
fi
exec "$@"

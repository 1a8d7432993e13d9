#!/usr/bin/env bash
# A streaming replica: copies the primary the first time, then follows it. Runs in PostgreSQL's image in place of its entrypoint.
#
# usage: replica.sh postgres [ARGUMENT...]
#
# PRIMARY_HOST and REPLICATION_PASSWORD say where and as whom; PGDATA is the image's. What an attempt left unfinished is made again.
set -euo pipefail

if [[ ! -s "$PGDATA/PG_VERSION" ]]; then
    new="$PGDATA.new"
    mkdir -p "$(dirname -- "$PGDATA")"
    rm -rf "$new" "$PGDATA"
    printf 'copying the primary at %s\n' "$PRIMARY_HOST"
    PGPASSWORD="$REPLICATION_PASSWORD" pg_basebackup --host "$PRIMARY_HOST" --username sker_replication --no-password \
        --pgdata "$new" --wal-method stream --slot sker_replica --write-recovery-conf --checkpoint fast
    chmod 700 "$new"
    mv "$new" "$PGDATA"
fi
unset REPLICATION_PASSWORD
exec "$@"

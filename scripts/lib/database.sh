# shellcheck shell=bash
# The database on PostgreSQL with a role and a schema for each service. Sourced after processes.sh, never run.
#
# libpq's variables (PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE, PGSSLMODE) say which server and as whom: on a command
# line everybody could read a password.

# sql [STATEMENTS]: runs them, or those of standard input, and prints what they answer, without decoration. Never asks for
# a password, and an error does not repeat the statement, in which one may stand.
sql() {
    PGCONNECT_TIMEOUT=5 "$(postgres_program psql)" -X -w -q -A -t -v ON_ERROR_STOP=1 -v VERBOSITY=terse ${1+-c "$1"}
}

# decode TEXT: undoes a URL's percent-encoding.
decode() {
    local text=${1//\\/\\\\}
    printf '%b' "${text//%/\\x}"
}

# encode TEXT: percent-encodes whatever is not a letter, a digit or one of -._~
encode() {
    local LC_ALL=C text=$1 index character
    for ((index = 0; index < ${#text}; index++)); do
        character=${text:index:1}
        case $character in
            [a-zA-Z0-9._~-]) printf '%s' "$character" ;;
            *) printf '%%%02X' "'$character" ;;
        esac
    done
}

# use_postgres_url URL: sets libpq's variables from postgres://user:password@host:port/database?sslmode=...
use_postgres_url() {
    local rest=${1#*://} query='' path='' user=''
    if [[ "$rest" == *\?* ]]; then query=${rest#*\?} rest=${rest%%\?*}; fi
    if [[ "$rest" == *@* ]]; then user=${rest%@*} rest=${rest##*@}; fi
    if [[ "$rest" == */* ]]; then path=${rest#*/} rest=${rest%%/*}; fi
    export PGHOST PGPORT PGUSER PGPASSWORD PGDATABASE
    PGUSER="$(decode "${user%%:*}")"
    PGUSER=${PGUSER:-postgres}
    PGPASSWORD=''
    if [[ "$user" == *:* ]]; then PGPASSWORD="$(decode "${user#*:}")"; fi
    PGPORT=5432
    if [[ "$rest" =~ ^(.*[^:]):([0-9]+)$ || "$rest" =~ ^(\[.*\]):([0-9]+)$ ]]; then
        rest=${BASH_REMATCH[1]}
        PGPORT=${BASH_REMATCH[2]}
    fi
    rest=${rest#[}
    PGHOST=${rest%]}
    PGDATABASE="$(decode "$path")"
    PGDATABASE=${PGDATABASE:-$PGUSER}
    if [[ "$query" =~ (^|&)sslmode=([a-z-]+) ]]; then export PGSSLMODE=${BASH_REMATCH[2]}; fi
}

# postgres_url USER PASSWORD: of this server and database.
postgres_url() {
    local host=$PGHOST
    if [[ "$host" == *:* ]]; then host="[$host]"; fi
    printf 'postgres://%s:%s@%s:%s/%s%s' "$(encode "$1")" "$(encode "$2")" "$host" "$PGPORT" "$(encode "$PGDATABASE")" \
        "${PGSSLMODE:+?sslmode=$PGSSLMODE}"
}

# make_database: creates the database that PGDATABASE names, unless it is there.
make_database() {
    local answer wanted=$PGDATABASE
    if answer="$(sql 'SELECT 1' 2>&1)"; then return; fi
    case $answer in
        *"database \"$wanted\" does not exist"*)
            say "creating the database $PGDATABASE"
            PGDATABASE=postgres sql "CREATE DATABASE \"${wanted//\"/\"\"}\" ENCODING 'UTF8' TEMPLATE template0" ||
                die 1 "PostgreSQL at $PGHOST:$PGPORT has no database $PGDATABASE, and $PGUSER may not create it"
            ;;
        *) die 1 "PostgreSQL at $PGHOST:$PGPORT cannot be used as $PGUSER: $answer" ;;
    esac
}

# make_schema SERVICE: the role sker_SERVICE and the schema SERVICE, which is its own; sets url_of_service to what the
# service signs in with. A user who may not create roles is used by every service, each in its schema.
make_schema() {
    local schema=$1 role="sker_$1" password may
    may="$(sql 'SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user')"
    if [[ "$may" != t ]]; then
        url_of_service="$(postgres_url "$PGUSER" "$PGPASSWORD")"
        return
    fi
    if [[ ! -s "$data_dir/secrets/postgresql-$schema" &&
        "$(sql "SELECT count(*) FROM pg_roles WHERE rolname = '$role'")" != 0 ]]; then
        die 1 "PostgreSQL at $PGHOST:$PGPORT has a role $role already, whose password is not in $data_dir:" \
            "give the --data-dir that made it, drop the role, or name a user without CREATEROLE"
    fi
    password="$(secret "postgresql-$schema")"
    # By standard input, where nobody else reads the password.
    sql <<SQL || die 1 "the role and schema of $schema cannot be made"
SET client_min_messages = warning;
DO \$\$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '$role') THEN
        CREATE ROLE $role LOGIN PASSWORD '$password';
        EXECUTE format('GRANT %I TO %I', '$role', current_user);
    END IF;
END \$\$;
CREATE SCHEMA IF NOT EXISTS $schema AUTHORIZATION $role;
SQL
    url_of_service="$(postgres_url "$role" "$password")"
}

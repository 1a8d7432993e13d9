#!/usr/bin/env bash
# Runs once, when the data are made: a role and a schema for each service that keeps rows, and what the replica needs. Passwords come
# by the environment and are read there, so that none stands on a command line.
set -euo pipefail

psql -X -q -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
\getenv store STORE_DB_PASSWORD
\getenv registry REGISTRY_DB_PASSWORD
\getenv database_service DATABASE_SERVICE_DB_PASSWORD
\getenv replication REPLICATION_PASSWORD

CREATE ROLE sker_store LOGIN PASSWORD :'store';
CREATE ROLE sker_registry LOGIN PASSWORD :'registry';
CREATE ROLE sker_database_service LOGIN PASSWORD :'database_service';
CREATE SCHEMA store AUTHORIZATION sker_store;
CREATE SCHEMA registry AUTHORIZATION sker_registry;
CREATE SCHEMA database_service AUTHORIZATION sker_database_service;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;

CREATE ROLE sker_replication LOGIN REPLICATION PASSWORD :'replication';
SELECT pg_create_physical_replication_slot('sker_replica', true);
SQL

# `all` does not include replication.
printf 'host replication sker_replication all scram-sha-256\n' >>"$PGDATA/pg_hba.conf"

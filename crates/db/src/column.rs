//! Column definitions for migrations, in the types that SeaORM reads and writes alike on every database.
//!
//! | helper | Rust | PostgreSQL | MySQL | SQLite |
//! |---|---|---|---|---|
//! | [`id`], [`uuid`] | `Uuid` | `uuid` | `binary(16)` | 16 bytes (BLOB): `ORDER BY` is the order of UUIDv7, that is of time |
//! | [`time`] | `sker_types::Time` | `timestamptz` | `datetime(6)`, see below | RFC 3339 text in UTC, see below |
//! | [`json`] | `serde_json::Value` | `jsonb` | `json` | text |
//! | [`boolean`] | `bool` | `bool` | 0 or 1 | 0 or 1 |
//! | [`double`] | `f64` | `double precision` | `double` | REAL |
//! | [`integer`], [`big_integer`], [`version`] | `i32`, `i64`, `i64` | `integer`, `bigint` | `int`, `bigint` | INTEGER |
//! | [`text`] | `String` | `text` | `text`: at most 64 KiB | TEXT |
//! | [`key`] | `String` | `varchar` | `varchar` | TEXT |
//!
//! **MySQL** indexes only text of a bounded length: use [`key`]. A migration that is to run there makes its tables with
//! [`crate::create_table`], which also gives times their type.
//!
//! **Time on SQLite.** sqlx writes `2026-01-31T12:00:00+00:00`, with `.123` or `.123456` after the seconds where they are
//! not zero. One instant has one spelling, and since `+` sorts before `.` and `.` before the digits, the order of
//! the texts is the order of time: `=`, `<` and `ORDER BY` do what they should. Let SeaORM bind times; a time
//! spelled by hand in SQL must keep to this form. Columns of time never have a default of the database's own, and values
//! are cut to microseconds before they are stored (`sker_types::now` does).
//!
//! A helper's column is `NOT NULL`; the one that ends in `_null` is nullable.

use sea_orm::sea_query::{ColumnDef, IntoIden};

/// A UUID as the primary key.
pub fn id(name: impl IntoIden) -> ColumnDef {
    uuid(name).primary_key().take()
}

/// A UUID, for example of another row.
pub fn uuid(name: impl IntoIden) -> ColumnDef {
    ColumnDef::new(name).uuid().not_null().take()
}

/// A UUID or NULL.
pub fn uuid_null(name: impl IntoIden) -> ColumnDef {
    ColumnDef::new(name).uuid().null().take()
}

/// A point in time.
pub fn time(name: impl IntoIden) -> ColumnDef {
    ColumnDef::new(name).timestamp_with_time_zone().not_null().take()
}

/// A point in time or NULL.
pub fn time_null(name: impl IntoIden) -> ColumnDef {
    ColumnDef::new(name).timestamp_with_time_zone().null().take()
}

/// A JSON document.
pub fn json(name: impl IntoIden) -> ColumnDef {
    ColumnDef::new(name).json_binary().not_null().take()
}

/// A JSON document or NULL.
pub fn json_null(name: impl IntoIden) -> ColumnDef {
    ColumnDef::new(name).json_binary().null().take()
}

/// True or false.
pub fn boolean(name: impl IntoIden) -> ColumnDef {
    ColumnDef::new(name).boolean().not_null().take()
}

/// A 64-bit floating-point number.
pub fn double(name: impl IntoIden) -> ColumnDef {
    ColumnDef::new(name).double().not_null().take()
}

/// A 64-bit floating-point number or NULL.
pub fn double_null(name: impl IntoIden) -> ColumnDef {
    ColumnDef::new(name).double().null().take()
}

/// A 32-bit integer.
pub fn integer(name: impl IntoIden) -> ColumnDef {
    ColumnDef::new(name).integer().not_null().take()
}

/// A 32-bit integer or NULL.
pub fn integer_null(name: impl IntoIden) -> ColumnDef {
    ColumnDef::new(name).integer().null().take()
}

/// A 64-bit integer.
pub fn big_integer(name: impl IntoIden) -> ColumnDef {
    ColumnDef::new(name).big_integer().not_null().take()
}

/// A 64-bit integer or NULL.
pub fn big_integer_null(name: impl IntoIden) -> ColumnDef {
    ColumnDef::new(name).big_integer().null().take()
}

/// Text of any length.
pub fn text(name: impl IntoIden) -> ColumnDef {
    ColumnDef::new(name).text().not_null().take()
}

/// Text of any length or NULL.
pub fn text_null(name: impl IntoIden) -> ColumnDef {
    ColumnDef::new(name).text().null().take()
}

/// Text of at most so many characters, which every database can index.
pub fn key(name: impl IntoIden, length: u32) -> ColumnDef {
    ColumnDef::new(name).string_len(length).not_null().take()
}

/// The row's `version`: starts at 1 and grows with every change; the quoted number is the ETag.
pub fn version() -> ColumnDef {
    big_integer("version")
}

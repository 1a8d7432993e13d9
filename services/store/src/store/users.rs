//! Accounts.

use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, ExprTrait},
};
use sker_db::{db_error, unique_violation};
use sker_error::{Code, Error, FieldError, Result};
use sker_types::{Time, Uuid};

pub(crate) use super::entity::user::Model as User;
use super::{
    Slice, contains,
    entity::user::{Column, Entity},
    insert_all, keyset, save,
};

/// Which users to list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    pub role: Option<String>,
    pub is_active: Option<bool>,
    pub text: Option<String>,
}

pub(crate) async fn find(conn: &impl ConnectionTrait, id: Uuid) -> Result<Option<User>> {
    Entity::find_by_id(id).one(conn).await.map_err(db_error)
}

pub(crate) async fn find_for_update(conn: &impl ConnectionTrait, id: Uuid) -> Result<Option<User>> {
    Entity::find_by_id(id).lock_exclusive().one(conn).await.map_err(db_error)
}

pub(crate) async fn find_by_email(conn: &impl ConnectionTrait, email_key: &str) -> Result<Option<User>> {
    Entity::find().filter(Column::EmailKey.eq(email_key)).one(conn).await.map_err(db_error)
}

/// Which of the two names somebody else has already: (email, username).
pub(crate) async fn taken(
    conn: &impl ConnectionTrait,
    email_key: &str,
    username_key: &str,
    except: Option<Uuid>,
) -> Result<(bool, bool)> {
    let either = Condition::any().add(Column::EmailKey.eq(email_key)).add(Column::UsernameKey.eq(username_key));
    let mut query = Entity::find().filter(either);
    if let Some(id) = except {
        query = query.filter(Column::Id.ne(id));
    }
    let rows = query.all(conn).await.map_err(db_error)?;
    Ok((rows.iter().any(|row| row.email_key == email_key), rows.iter().any(|row| row.username_key == username_key)))
}

/// Inserts an account; `conflict` when somebody was faster with the same name.
pub(crate) async fn insert(conn: &impl ConnectionTrait, user: User) -> Result<()> {
    insert_all(conn, vec![user]).await.map_err(duplicate)
}

/// Changes an account; `conflict` when somebody was faster with the same name.
pub(crate) async fn update(conn: &impl ConnectionTrait, old: &User, new: &User) -> Result<()> {
    save(conn, Column::Id, Column::Version, old, new).await.map_err(duplicate)
}

/// Says which name it is that somebody else has.
fn duplicate(error: Error) -> Error {
    let index = error.cause().and_then(|cause| cause.downcast_ref()).and_then(unique_violation);
    let has = |column: &str| index.as_ref().is_some_and(|index| index.contains(column));
    match (has("email_key"), has("username_key")) {
        (false, false) => error,
        (email, username) => taken_error(email, username),
    }
}

/// `conflict`, with the fields that somebody else has already.
pub(crate) fn taken_error(email: bool, username: bool) -> Error {
    let taken = [("email", email), ("username", username)].into_iter().filter(|(_, taken)| *taken);
    let fields: Vec<FieldError> =
        taken.map(|(field, _)| FieldError::new(field, "taken", "somebody else has it already")).collect();
    let names: Vec<&str> = fields.iter().map(|field| field.field.as_str()).collect();
    Error::new(Code::Conflict, format!("taken already: {}", names.join(", "))).with_fields(fields)
}

/// Everybody who can act as an administrator, locked: none of them can cease to until the transaction ends.
pub(crate) async fn admins_for_update(conn: &impl ConnectionTrait, role: &str) -> Result<Vec<Uuid>> {
    let query = Entity::find().filter(Column::Role.eq(role)).filter(Column::IsActive.eq(true));
    // In one order everywhere, so that two transactions cannot wait for each other.
    let query = query.select_only().column(Column::Id).order_by_asc(Column::Id).lock_exclusive();
    query.into_tuple().all(conn).await.map_err(db_error)
}

/// Notes a sign-in. Not a change of the resource that others could be in conflict with.
pub(crate) async fn touch(conn: &impl ConnectionTrait, id: Uuid, at: Time) -> Result<()> {
    let update = Entity::update_many().col_expr(Column::LastLoginAt, Expr::value(at)).filter(Column::Id.eq(id));
    update.exec(conn).await.map_err(db_error)?;
    Ok(())
}

pub(crate) async fn list(conn: &impl ConnectionTrait, filter: &Filter, slice: Slice) -> Result<Vec<User>> {
    let mut query = Entity::find();
    if let Some(role) = &filter.role {
        query = query.filter(Column::Role.eq(role.as_str()));
    }
    if let Some(is_active) = filter.is_active {
        query = query.filter(Column::IsActive.eq(is_active));
    }
    if let Some(text) = &filter.text {
        let text = text.to_lowercase();
        let any = Condition::any()
            .add(Expr::col(Column::EmailKey).like(contains(&text)))
            .add(Expr::col(Column::UsernameKey).like(contains(&text)));
        query = query.filter(any);
    }
    keyset::slice(query, Column::CreatedAt, Column::Id, slice).all(conn).await.map_err(db_error)
}

/// Whether there is an account with that role.
pub(crate) async fn has_role(conn: &impl ConnectionTrait, role: &str) -> Result<bool> {
    let count = Entity::find().filter(Column::Role.eq(role)).limit(1).count(conn).await.map_err(db_error)?;
    Ok(count > 0)
}

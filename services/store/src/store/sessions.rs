//! Sign-in sessions and their refresh tokens.

use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect, sea_query::Expr};
use sker_db::db_error;
use sker_error::Result;
use sker_types::{Time, Uuid};

pub(crate) use super::entity::{refresh_token::Model as RefreshToken, session::Model as Session};
use super::{
    entity::{refresh_token, session},
    insert_all,
};

pub(crate) async fn insert(conn: &impl ConnectionTrait, session: Session) -> Result<()> {
    insert_all(conn, vec![session]).await
}

pub(crate) async fn find(conn: &impl ConnectionTrait, id: Uuid) -> Result<Option<Session>> {
    session::Entity::find_by_id(id).one(conn).await.map_err(db_error)
}

pub(crate) async fn insert_token(conn: &impl ConnectionTrait, token: RefreshToken) -> Result<()> {
    insert_all(conn, vec![token]).await
}

/// A refresh token and its session, locked.
pub(crate) async fn find_token(conn: &impl ConnectionTrait, hash: &str) -> Result<Option<(RefreshToken, Session)>> {
    let query = refresh_token::Entity::find().filter(refresh_token::Column::TokenHash.eq(hash));
    let Some(token) = query.lock_exclusive().one(conn).await.map_err(db_error)? else { return Ok(None) };
    let session = session::Entity::find_by_id(token.session_id).lock_exclusive().one(conn).await.map_err(db_error)?;
    Ok(session.map(|session| (token, session)))
}

pub(crate) async fn use_token(conn: &impl ConnectionTrait, id: Uuid, at: Time) -> Result<()> {
    let update = refresh_token::Entity::update_many().col_expr(refresh_token::Column::UsedAt, Expr::value(at));
    update.filter(refresh_token::Column::Id.eq(id)).exec(conn).await.map_err(db_error)?;
    Ok(())
}

/// Ends a session: none of its refresh tokens is good any more. Ending it twice keeps the first reason.
pub(crate) async fn revoke(conn: &impl ConnectionTrait, id: Uuid, reason: &str, at: Time) -> Result<()> {
    revoke_where(conn, session::Column::Id.eq(id), reason, at).await
}

/// Ends every session of a user.
pub(crate) async fn revoke_all(conn: &impl ConnectionTrait, user: Uuid, reason: &str, at: Time) -> Result<()> {
    revoke_where(conn, session::Column::UserId.eq(user), reason, at).await
}

async fn revoke_where(
    conn: &impl ConnectionTrait,
    which: sea_orm::sea_query::SimpleExpr,
    reason: &str,
    at: Time,
) -> Result<()> {
    let update = session::Entity::update_many()
        .col_expr(session::Column::RevokedAt, Expr::value(at))
        .col_expr(session::Column::RevokedReason, Expr::value(reason))
        .filter(which)
        .filter(session::Column::RevokedAt.is_null());
    update.exec(conn).await.map_err(db_error)?;
    Ok(())
}

/// Forgets sessions that ran out before `horizon`, with their tokens.
pub(crate) async fn prune(conn: &impl ConnectionTrait, horizon: Time) -> Result<u64> {
    let delete = session::Entity::delete_many().filter(session::Column::ExpiresAt.lt(horizon));
    Ok(delete.exec(conn).await.map_err(db_error)?.rows_affected)
}

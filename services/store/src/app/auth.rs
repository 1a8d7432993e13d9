//! Signing up, in and out.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::SecretString;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use sker_api::Ctx;
use sker_auth::Claims;
use sker_error::{Error, Fields, Result};
use sker_types::{Role, Time, Uuid, event_type, new_id, now};
use utoipa::ToSchema;

use super::{
    App, acting_user, events,
    users::{self, Account},
};
use crate::store::{
    Tx,
    sessions::{self, RefreshToken},
    users::{self as rows, User as Row},
};

/// Where a sign-in comes from, to throttle guessing.
#[derive(Clone, Debug)]
pub(crate) struct Origin(pub String);

/// What a sign-in gives.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Session {
    /// A JWT for `Authorization: Bearer`.
    access_token: String,
    /// For one call of `/auth/refresh`.
    refresh_token: String,
    /// Always `Bearer`.
    token_type: &'static str,
    /// Seconds until the access token expires.
    expires_in: u64,
    /// Who has signed in.
    user: super::User,
}

impl App {
    /// Makes an account and signs it in.
    pub(crate) async fn register(&self, body: Value) -> Result<Session> {
        let mut fields = Fields::new(body)?;
        let account = Account::read(&mut fields);
        fields.finish()?;
        let account = account.ok_or_else(|| Error::internal("a required field was neither read nor refused"))?;
        let hash = self.passwords.hash(&account.password).await?;
        let mut tx = self.store.begin().await?;
        users::refuse_taken(tx.conn(), &account.email, &account.username, None).await?;
        let row = account.into_row(hash, Role::User, now());
        rows::insert(tx.conn(), row.clone()).await?;
        tx.emit(events::user(event_type::USER_CREATED, &row));
        let session = self.open_session(&mut tx, row).await?;
        tx.commit().await?;
        Ok(session)
    }

    /// Signs in with email and password. Whatever is wrong, the answer is the same and takes as long.
    pub(crate) async fn login(&self, body: Value, origin: &Origin) -> Result<Session> {
        let mut fields = Fields::new(body)?;
        let email = fields.string("email", 1..=320);
        let email = fields.require("email", email);
        let password = fields.string("password", 1..=1_024);
        let password = fields.require("password", password);
        fields.finish()?;
        let (Some(email), Some(password)) = (email, password) else {
            return Err(Error::internal("a required field was neither read nor refused"));
        };
        let email = email.trim().to_lowercase();
        let attempt = self.throttle.begin(&email, &origin.0).await?;
        let user = match self.owner(&email, password.into()).await {
            Ok(Some(user)) => user,
            Ok(None) => return Err(wrong_credentials()),
            // Nobody can say whether it was right.
            Err(error) => {
                self.throttle.withdraw(attempt).await;
                return Err(error);
            }
        };
        self.throttle.succeed(attempt).await;
        let mut tx = self.store.begin().await?;
        // It may have been locked since it was read: then all its sessions are ended, but this one is not among them yet.
        let user = rows::find_for_update(tx.conn(), user.id).await?.filter(|user| user.is_active);
        let session = self.open_session(&mut tx, user.ok_or_else(wrong_credentials)?).await?;
        tx.commit().await?;
        Ok(session)
    }

    /// Whose email and password these are.
    async fn owner(&self, email: &str, password: SecretString) -> Result<Option<Row>> {
        let user = rows::find_by_email(self.store.reader(), email).await?;
        let hash = user.as_ref().map(|user| user.password_hash.clone());
        let fits = self.passwords.verify(&password, hash).await?;
        Ok(user.filter(|user| fits && user.is_active))
    }

    /// Trades a refresh token for a new pair. One that was used before tells that somebody has a copy: the whole family,
    /// that is everything that came from the same sign-in, is revoked.
    pub(crate) async fn refresh(&self, body: Value) -> Result<Session> {
        let token = read_refresh_token(body)?;
        let refused = || Error::unauthenticated("the refresh token is not valid");
        let tx = self.store.begin().await?;
        let found = sessions::find_token(tx.conn(), &hash_of(&token)).await?;
        let (token, session) = found.ok_or_else(refused)?;
        let now = now();
        if session.revoked_at.is_some() || session.expires_at <= now {
            return Err(refused());
        }
        if token.used_at.is_some() {
            sessions::revoke(tx.conn(), session.id, "reuse", now).await?;
            tx.commit().await?;
            tracing::warn!(session.id = %session.id, user.id = %session.user_id, "a refresh token was used twice");
            return Err(refused());
        }
        let user = rows::find(tx.conn(), session.user_id).await?.filter(|user| user.is_active).ok_or_else(refused)?;
        sessions::use_token(tx.conn(), token.id, now).await?;
        let answer = self.issue(&tx, user, session.id, now).await?;
        tx.commit().await?;
        Ok(answer)
    }

    /// Ends the session that the caller's token came from.
    pub(crate) async fn logout(&self, ctx: &Ctx) -> Result<()> {
        acting_user(ctx)?;
        let Some(session) = ctx.principal.session else { return Ok(()) };
        let tx = self.store.begin().await?;
        sessions::revoke(tx.conn(), session, "logout", now()).await?;
        tx.commit().await
    }

    /// The caller's own account.
    pub(crate) async fn me(&self, ctx: &Ctx) -> Result<super::User> {
        let id = acting_user(ctx)?;
        let over = || Error::unauthenticated("the session is over; sign in again");
        if let Some(session) = ctx.principal.session {
            let session = sessions::find(self.store.reader(), session).await?.ok_or_else(over)?;
            if session.revoked_at.is_some() {
                return Err(over());
            }
        }
        let user = rows::find(self.store.reader(), id).await?;
        user.filter(|user| user.is_active).map(super::User::from).ok_or_else(over)
    }

    async fn open_session(&self, tx: &mut Tx, mut user: Row) -> Result<Session> {
        let now = now();
        let session = sessions::Session {
            id: new_id(),
            user_id: user.id,
            created_at: now,
            expires_at: now + self.settings.refresh_token_ttl,
            revoked_at: None,
            revoked_reason: None,
        };
        let id = session.id;
        sessions::insert(tx.conn(), session).await?;
        rows::touch(tx.conn(), user.id, now).await?;
        user.last_login_at = Some(now);
        self.issue(tx, user, id, now).await
    }

    async fn issue(&self, tx: &Tx, user: Row, session: Uuid, now: Time) -> Result<Session> {
        let refresh_token = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        let row = RefreshToken {
            id: new_id(),
            session_id: session,
            token_hash: hash_of(&refresh_token),
            created_at: now,
            used_at: None,
        };
        sessions::insert_token(tx.conn(), row).await?;
        let role = Role::parse(&user.role).ok_or_else(|| Error::internal("the account has an unknown role"))?;
        let ttl = self.settings.access_token_ttl;
        let access_token = self.keys.issue(&Claims::user(user.id, role, session, ttl))?;
        let expires_in = ttl.as_secs();
        Ok(Session { access_token, refresh_token, token_type: "Bearer", expires_in, user: user.into() })
    }
}

/// The same whatever is wrong.
fn wrong_credentials() -> Error {
    Error::unauthenticated("wrong email or password")
}

fn read_refresh_token(body: Value) -> Result<String> {
    let mut fields = Fields::new(body)?;
    let token = fields.string("refresh_token", 1..=1_024);
    let token = fields.require("refresh_token", token);
    fields.finish()?;
    token.ok_or_else(|| Error::internal("a required field was neither read nor refused"))
}

/// Refresh tokens are 256 random bits: a fast hash is enough, and what is stored signs nobody in.
fn hash_of(token: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(token.as_bytes()))
}

//! Accounts.

use std::{io::Write as _, path::Path};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::{Value, json};
use sker_api::Ctx;
use sker_error::{Code, Error, Fields, Patch, Result};
use sker_runtime::QueryFields;
use sker_types::{Page, Role, Time, Uuid, event_type, new_id, now};
use utoipa::ToSchema;

use super::{App, Expected, acting_user, body, events, paging::Paging, system::require_admin};
use crate::store::{
    Conn, Place, sessions,
    users::{self as rows, User as Row},
};

/// An account.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct User {
    pub(crate) id: Uuid,
    pub(crate) email: String,
    pub(crate) username: String,
    /// `admin` or `user`.
    pub(crate) role: String,
    pub(crate) avatar_url: Option<String>,
    /// Open: `theme`, `language`, `notifications`, `ai_preferences`, ...
    #[schema(value_type = Object)]
    pub(crate) settings: Value,
    pub(crate) is_active: bool,
    pub(crate) last_login_at: Option<DateTime<Utc>>,
    pub(crate) version: i64,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

impl From<Row> for User {
    fn from(row: Row) -> Self {
        User {
            id: row.id,
            email: row.email,
            username: row.username,
            role: row.role,
            avatar_url: row.avatar_url,
            settings: row.settings,
            is_active: row.is_active,
            last_login_at: row.last_login_at,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// What makes an account.
pub(super) struct Account {
    pub(super) email: String,
    pub(super) username: String,
    pub(super) password: SecretString,
}

impl Account {
    /// Reads the body of a registration; `None` when a fault was found.
    pub(super) fn read(fields: &mut Fields) -> Option<Self> {
        let email = read_email(fields);
        let email = fields.require("email", email);
        let username = read_username(fields);
        let username = fields.require("username", username);
        let password = fields.string("password", 8..=200);
        let password = fields.require("password", password);
        Some(Account { email: email?, username: username?, password: password?.into() })
    }

    pub(super) fn into_row(self, password_hash: String, role: Role, now: Time) -> Row {
        Row {
            id: new_id(),
            email_key: self.email.to_lowercase(),
            email: self.email,
            username_key: self.username.to_lowercase(),
            username: self.username,
            password_hash,
            role: role.as_str().to_owned(),
            avatar_url: None,
            settings: json!({}),
            is_active: true,
            last_login_at: None,
            version: 1,
            created_at: now,
            updated_at: now,
        }
    }
}

/// The first administrator, where its password was generated.
pub(crate) struct FirstAdmin {
    /// Who it is.
    pub email: String,
    /// To be shown once.
    pub password: SecretString,
}

impl App {
    /// Makes the first administrator if there is none. A password that is generated is written to `file`, for its owner
    /// only, before the account is committed, so that a crash at the wrong moment leaves no account that nobody can use.
    pub(crate) async fn ensure_admin(
        &self,
        email: &str,
        password: Option<&SecretString>,
        file: Option<&Path>,
    ) -> Result<Option<FirstAdmin>> {
        if rows::has_role(self.store.reader(), Role::Admin.as_str()).await? {
            return Ok(None);
        }
        let generated = password.is_none();
        let password =
            password.cloned().unwrap_or_else(|| SecretString::from(URL_SAFE_NO_PAD.encode(rand::random::<[u8; 18]>())));
        let hash = self.passwords.hash(&password).await?;
        let mut tx = self.store.begin().await?;
        // Another replica may have been faster.
        if rows::has_role(tx.conn(), Role::Admin.as_str()).await? {
            return Ok(None);
        }
        let account = Account { email: email.to_owned(), username: "admin".to_owned(), password: password.clone() };
        let row = account.into_row(hash, Role::Admin, now());
        if let Err(error) = rows::insert(tx.conn(), row.clone()).await {
            drop(tx);
            // Or is just now: this waited for it to be done.
            let late =
                error.code() == Code::Conflict && rows::has_role(self.store.reader(), Role::Admin.as_str()).await?;
            return if late { Ok(None) } else { Err(error) };
        }
        // Nobody else comes this far at the same time, so what is in the file is what is in the database.
        if let (true, Some(file)) = (generated, file) {
            write_secret(file, &password).map_err(|error| {
                Error::unavailable("the administrator's password cannot be written").with_cause(error)
            })?;
        }
        tx.emit(events::user(event_type::USER_CREATED, &row));
        tx.commit().await?;
        Ok(generated.then(|| FirstAdmin { email: email.to_owned(), password }))
    }

    /// Every account, for administrators.
    pub(crate) async fn list_users(&self, ctx: &Ctx, mut query: QueryFields) -> Result<Page<User>> {
        require_admin(ctx)?;
        let paging = Paging::read(&mut query, false);
        let filter = rows::Filter {
            role: query.one_of("role", &["admin", "user"]),
            is_active: query.boolean("is_active"),
            text: query.bounded("q", 200),
        };
        query.finish()?;
        let list = format!("users {filter:?}");
        let slice = self.cursors.slice(&paging, &list)?;
        let found = rows::list(self.store.reader(), &filter, slice).await?;
        let place = |row: &Row| Place { time: row.created_at, id: row.id };
        Ok(self.cursors.page(&paging, &list, found, place, User::from))
    }

    /// One's own account; any, for administrators.
    pub(crate) async fn get_user(&self, ctx: &Ctx, id: Uuid) -> Result<User> {
        may_see(ctx, id)?;
        let row = rows::find(self.store.reader(), id).await?;
        row.map(User::from).ok_or_else(|| Error::not_found("user"))
    }

    /// Changes one's own account; administrators may also change roles and lock accounts.
    pub(crate) async fn update_user(&self, ctx: &Ctx, id: Uuid, body: Value, expected: &Expected) -> Result<User> {
        may_see(ctx, id)?;
        let mut tx = self.store.begin().await?;
        // Before the account itself: two administrators who lock each other out at once take turns here.
        let about_admins = body.get("role").is_some() || body.get("is_active").is_some();
        let admins = match about_admins && ctx.principal.is_admin() {
            true => rows::admins_for_update(tx.conn(), Role::Admin.as_str()).await?,
            false => Vec::new(),
        };
        let old = rows::find_for_update(tx.conn(), id).await?.ok_or_else(|| Error::not_found("user"))?;
        expected.check(old.version)?;
        let mut new = old.clone();
        patch(&mut new, body, ctx)?;
        if admins.as_slice() == [id] && !(new.is_active && new.role == Role::Admin.as_str()) {
            return Err(Error::conflict("this is the last administrator"));
        }
        users_may_be_named_so(tx.conn(), &old, &new).await?;
        if new == old {
            return Ok(old.into());
        }
        new.version += 1;
        new.updated_at = now();
        rows::update(tx.conn(), &old, &new).await?;
        if old.is_active && !new.is_active {
            sessions::revoke_all(tx.conn(), id, "deactivated", new.updated_at).await?;
        }
        tx.emit(events::user(event_type::USER_UPDATED, &new));
        tx.commit().await?;
        Ok(new.into())
    }
}

fn patch(user: &mut Row, body: Value, ctx: &Ctx) -> Result<()> {
    let mut fields = Fields::new(body)?;
    let email = read_email(&mut fields);
    if let Some(email) = body::keep(&mut fields, "email", email) {
        user.email_key = email.to_lowercase();
        user.email = email;
    }
    let username = read_username(&mut fields);
    if let Some(username) = body::keep(&mut fields, "username", username) {
        user.username_key = username.to_lowercase();
        user.username = username;
    }
    user.avatar_url = fields.string("avatar_url", 1..=2_000).apply(user.avatar_url.take());
    if let Some(settings) = body::open_object(&mut fields, "settings", Some(&user.settings)) {
        user.settings = settings;
    }
    let role = fields.one_of("role", &["admin", "user"]);
    let is_active = fields.boolean("is_active");
    let by_admins_only = role.is_present() || is_active.is_present();
    if let Some(role) = body::keep(&mut fields, "role", role) {
        user.role = role;
    }
    if let Some(is_active) = body::keep(&mut fields, "is_active", is_active) {
        user.is_active = is_active;
    }
    fields.finish()?;
    if by_admins_only && !ctx.principal.is_admin() {
        return Err(Error::forbidden("only administrators may change role and is_active"));
    }
    if ctx.principal.user_id() == Some(user.id) && ctx.principal.is_admin() && (!user.is_active || user.role != "admin")
    {
        return Err(Error::conflict("administrators cannot lock themselves out"));
    }
    Ok(())
}

async fn users_may_be_named_so(conn: &impl Conn, old: &Row, new: &Row) -> Result<()> {
    if old.email_key == new.email_key && old.username_key == new.username_key {
        return Ok(());
    }
    refuse_taken(conn, &new.email, &new.username, Some(new.id)).await
}

/// `conflict`, with the fields, when somebody else has the email or the username.
pub(super) async fn refuse_taken(conn: &impl Conn, email: &str, username: &str, except: Option<Uuid>) -> Result<()> {
    match rows::taken(conn, &email.to_lowercase(), &username.to_lowercase(), except).await? {
        (false, false) => Ok(()),
        (email, username) => Err(rows::taken_error(email, username)),
    }
}

fn may_see(ctx: &Ctx, id: Uuid) -> Result<()> {
    if ctx.principal.is_admin() || ctx.principal.is_service() || acting_user(ctx)? == id {
        return Ok(());
    }
    Err(Error::not_found("user"))
}

fn read_email(fields: &mut Fields) -> Patch<String> {
    let email = match fields.string("email", 3..=320) {
        Patch::Value(email) => email.trim().to_owned(),
        other => return other,
    };
    if is_email(&email) {
        return Patch::Value(email);
    }
    fields.fault("email", "invalid", "must be an email address");
    Patch::Absent
}

/// Whether mail could be sent there at all; only sending some would tell more.
fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '@';
    !local.is_empty()
        && local.chars().all(plain)
        && !domain.is_empty()
        && domain.chars().all(plain)
        && domain.split('.').all(|label| !label.is_empty())
}

fn read_username(fields: &mut Fields) -> Patch<String> {
    let username = match fields.string("username", 2..=50) {
        Patch::Value(username) => username,
        other => return other,
    };
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ');
    if username.chars().all(allowed) && username.trim() == username {
        return Patch::Value(username);
    }
    fields.fault("username", "invalid", "must be of letters, digits, spaces, dots, dashes and underscores");
    Patch::Absent
}

fn write_secret(file: &Path, secret: &SecretString) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(file)?;
    writeln!(file, "{}", secret.expose_secret())?;
    file.sync_all()
}

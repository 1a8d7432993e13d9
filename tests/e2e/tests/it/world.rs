//! What most tests begin with.

use anyhow::{Context, Result};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;
use sker_testkit::{Api, Embedded};
use tempfile::TempDir;

/// A platform and a user of it.
pub struct World {
    pub home: TempDir,
    pub platform: Embedded,
    pub user: Api,
}

impl World {
    pub async fn new() -> Result<Self> {
        let home = tempfile::tempdir()?;
        let platform = Embedded::start(home.path()).await?;
        let user = platform.gateway()?.sign_up().await?;
        Ok(World { home, platform, user })
    }

    /// The administrator.
    pub async fn admin(&self) -> Result<Api> {
        admin(&self.platform).await
    }

    /// Starts again on the same data after the platform has ended; the user stays signed in.
    pub async fn restart(self) -> Result<Self> {
        let platform = self.platform.restart().await?;
        let user = platform.gateway()?.with_token(self.user.token().context("signed in")?);
        Ok(World { home: self.home, platform, user })
    }
}

/// The administrator of a platform, signed in with the password that the first start wrote down.
pub async fn admin(platform: &Embedded) -> Result<Api> {
    let password = std::fs::read_to_string(platform.data_dir().join("admin-password"))?;
    platform.gateway()?.log_in("admin@sker.local", password.trim()).await
}

/// The claims of a token, unverified.
pub fn claims(token: &str) -> Result<Value> {
    let payload = token.split('.').nth(1).context("a token has three parts")?;
    Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload)?)?)
}

/// The `data` of a page.
pub fn rows(page: &Value) -> Result<&Vec<Value>> {
    page["data"].as_array().with_context(|| format!("no page: {page}"))
}

/// A member that is a string.
pub fn text<'a>(value: &'a Value, member: &str) -> Result<&'a str> {
    value[member].as_str().with_context(|| format!("no string {member} in {value}"))
}

//! Argon2id on a few threads of its own, so that many sign-ins at once starve nothing else.

use std::sync::Arc;

use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version};
use secrecy::{ExposeSecret, SecretString};
use sker_error::{Error, Result};
use tokio::sync::Semaphore;

/// Sign-ins that may wait for their turn; beyond that they are told to come back.
const MOST_WAITING: usize = 256;

/// Hashes and verifies passwords: 19 MiB, two passes, one lane (OWASP Password Storage Cheat Sheet).
pub(super) struct Passwords {
    argon: Argon2<'static>,
    /// The hash of a password that nobody has.
    decoy: Arc<str>,
    turns: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Passwords {
    /// At most `threads` hashes at a time, each of which takes 19 MiB.
    pub(super) fn new(threads: usize) -> Result<Self> {
        let params = Params::new(19_456, 2, 1, None).map_err(|error| Error::internal(error.to_string()))?;
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let decoy = argon.hash_password(b"nobody's").map_err(|error| Error::internal(error.to_string()))?;
        Ok(Passwords {
            argon,
            decoy: decoy.to_string().into(),
            turns: Arc::new(Semaphore::new(threads.max(1))),
            waiting: Arc::new(Semaphore::new(MOST_WAITING)),
        })
    }

    /// The PHC string of a password.
    pub(super) async fn hash(&self, password: &SecretString) -> Result<String> {
        let (argon, password) = (self.argon.clone(), password.clone());
        self.run(move || {
            let hash = argon.hash_password(password.expose_secret().as_bytes());
            hash.map(|hash| hash.to_string()).map_err(|error| Error::internal(error.to_string()))
        })
        .await?
    }

    /// Whether the password fits the hash. Without a hash the answer is no, and takes as long.
    pub(super) async fn verify(&self, password: &SecretString, hash: Option<String>) -> Result<bool> {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.decoy.to_string());
        let (argon, password) = (self.argon.clone(), password.clone());
        let fits = self.run(move || argon.verify_password(password.expose_secret().as_bytes(), hash.as_str()).is_ok());
        Ok(fits.await? && known)
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let busy = || Error::unavailable("too many sign-ins at once; try again");
        let _waiting = self.waiting.clone().try_acquire_owned().map_err(|_| busy())?;
        let turn = self.turns.clone().acquire_owned().await.map_err(|_| busy())?;
        let work = move || {
            // Held by the thread: a caller that gives up does not make room for one more thread.
            let _turn = turn;
            work()
        };
        tokio::task::spawn_blocking(work).await.map_err(Error::internal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_fits_its_own_hash_only() {
        let passwords = Passwords::new(1).unwrap();
        let hash = passwords.hash(&"correct horse".into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(passwords.verify(&"correct horse".into(), Some(hash.clone())).await.unwrap());
        assert!(!passwords.verify(&"battery staple".into(), Some(hash)).await.unwrap());
        assert!(!passwords.verify(&"nobody's".into(), None).await.unwrap());
    }
}

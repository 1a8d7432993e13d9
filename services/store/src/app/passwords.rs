//! Argon2id on a few threads of its own, so that many sign-ins at once starve nothing else.

use std::sync::Arc;

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::phc::{Output, ParamsString, PasswordHash, Salt},
};
use secrecy::{ExposeSecret, SecretString};
use sker_error::{Error, Result};
use tokio::sync::Semaphore;

/// Sign-ins that may wait for their turn; beyond that they are told to come back.
const MOST_WAITING: usize = 256;

/// What a hash reserves, in blocks of 1 KiB; it touches the first 19 MiB. The C library gives back at once only what is larger
/// than 32 MiB: with less, every thread that has ever hashed would keep 19 MiB for good.
const RESERVED_BLOCKS: usize = 33 * 1024;

/// Hashes and verifies passwords: 19 MiB, two passes, one lane (OWASP Password Storage Cheat Sheet).
pub(super) struct Passwords {
    params: Params,
    /// The hash of a password that nobody has.
    decoy: Arc<str>,
    turns: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Passwords {
    /// At most `threads` hashes at a time, each of which takes 19 MiB.
    pub(super) fn new(threads: usize) -> Result<Self> {
        let params = Params::new(19_456, 2, 1, None).map_err(|error| Error::internal(error.to_string()))?;
        let decoy = hash(&params, b"nobody's")?;
        Ok(Passwords {
            params,
            decoy: decoy.into(),
            turns: Arc::new(Semaphore::new(threads.max(1))),
            waiting: Arc::new(Semaphore::new(MOST_WAITING)),
        })
    }

    /// The PHC string of a password.
    pub(super) async fn hash(&self, password: &SecretString) -> Result<String> {
        let (params, password) = (self.params.clone(), password.clone());
        self.run(move || hash(&params, password.expose_secret().as_bytes())).await?
    }

    /// Whether the password fits the hash. Without a hash the answer is no, and takes as long.
    pub(super) async fn verify(&self, password: &SecretString, hash: Option<String>) -> Result<bool> {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.decoy.to_string());
        let password = password.clone();
        let fits = self.run(move || fits(password.expose_secret().as_bytes(), &hash));
        Ok(fits.await?.is_ok_and(|fits| fits) && known)
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

fn hash(params: &Params, password: &[u8]) -> Result<String> {
    let hash = || -> argon2::password_hash::Result<PasswordHash> {
        let (algorithm, version) = (Algorithm::Argon2id, Version::V0x13);
        let salt = Salt::new(&rand::random::<[u8; 16]>())?;
        Ok(PasswordHash {
            algorithm: algorithm.ident(),
            version: Some(version.into()),
            params: ParamsString::try_from(params)?,
            salt: Some(salt),
            hash: Some(digest(algorithm, version, params, password, &salt, Params::DEFAULT_OUTPUT_LEN)?),
        })
    };
    hash().map(|hash| hash.to_string()).map_err(|error| Error::internal(error.to_string()))
}

/// Whether a password has this hash, whatever the parameters it was made with.
fn fits(password: &[u8], hash: &str) -> argon2::password_hash::Result<bool> {
    let hash = PasswordHash::new(hash)?;
    let (Some(salt), Some(expected)) = (hash.salt, hash.hash) else { return Ok(false) };
    let algorithm = Algorithm::try_from(hash.algorithm.as_str())?;
    let version = hash.version.map(Version::try_from).transpose()?.unwrap_or_default();
    let params = Params::try_from(&hash)?;
    // Outputs are compared in constant time.
    Ok(digest(algorithm, version, &params, password, &salt, expected.len())? == expected)
}

fn digest(
    algorithm: Algorithm,
    version: Version,
    params: &Params,
    password: &[u8],
    salt: &[u8],
    length: usize,
) -> argon2::password_hash::Result<Output> {
    let mut blocks = Vec::with_capacity(params.block_count().max(RESERVED_BLOCKS));
    blocks.resize(params.block_count(), Block::new());
    let mut output = vec![0; length];
    let argon = Argon2::new(algorithm, version, params.clone());
    argon.hash_password_into_with_memory(password, salt, &mut output, &mut blocks)?;
    Output::new(&output).map_err(Into::into)
}

#[cfg(test)]
mod tests {
    use argon2::{PasswordHasher as _, PasswordVerifier as _};

    use super::*;

    #[tokio::test]
    async fn a_password_fits_its_own_hash_only() {
        let passwords = Passwords::new(1).unwrap();
        let hash = passwords.hash(&"correct horse".into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(passwords.verify(&"correct horse".into(), Some(hash.clone())).await.unwrap());
        assert!(!passwords.verify(&"battery staple".into(), Some(hash)).await.unwrap());
        assert!(!passwords.verify(&"nobody's".into(), None).await.unwrap());
        assert!(!passwords.verify(&"correct horse".into(), Some("no hash".to_owned())).await.unwrap());
    }

    #[tokio::test]
    async fn hashes_are_those_that_others_make_also_with_other_parameters() {
        let passwords = Passwords::new(1).unwrap();
        let hash = passwords.hash(&"correct horse".into()).await.unwrap();
        let others = Argon2::new(Algorithm::Argon2i, Version::V0x13, Params::new(64, 3, 2, Some(24)).unwrap());
        assert!(others.verify_password(b"correct horse", hash.as_str()).is_ok());
        let theirs = others.hash_password(b"correct horse").unwrap().to_string();
        assert!(passwords.verify(&"correct horse".into(), Some(theirs.clone())).await.unwrap());
        assert!(!passwords.verify(&"battery staple".into(), Some(theirs)).await.unwrap());
    }
}

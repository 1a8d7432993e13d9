//! The directory that `sker up` keeps everything in.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::SecretString;

use crate::{
    exit::{Exit, Failure},
    private_file,
};

/// A data directory that this process alone uses.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Unlocked when it is dropped, or by the system when the process is gone.
    _lock: File,
}

/// Where to keep data when the user did not say.
pub fn default_path() -> PathBuf {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path: &PathBuf| path.is_absolute());
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .map_or_else(|| PathBuf::from("sker-data"), |directory| directory.join("sker"))
}

impl DataDir {
    /// Opens a directory, which is made when it is missing, and locks it.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let unusable = |error: io::Error| {
            Failure::new(Exit::Failure, format!("the data directory {} cannot be used: {error}", path.display()))
        };
        private_file::create_directory(path).map_err(unusable)?;
        let path = path.canonicalize().map_err(unusable)?;
        let mut lock = private_file::open_lock(&path.join("lock")).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = fs::read_to_string(path.join("lock")).unwrap_or_default();
                let holder = holder.trim();
                let holder = if holder.is_empty() { String::new() } else { format!(" (process {holder})") };
                return Err(Failure::new(
                    Exit::Conflict,
                    format!(
                        "another sker{holder} is using the data directory {}; stop it or choose another --data-dir",
                        path.display()
                    ),
                ));
            }
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        // Only for the message above; the lock itself is the system's.
        lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id())).map_err(unusable)?;
        Ok(DataDir { path, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many times the platform was started here, this time included. Sequence numbers of the realtime log begin with it,
    /// so it is on disk before it is used.
    pub fn next_boot(&self) -> anyhow::Result<u32> {
        let file = self.path.join("boot");
        let last: u32 = match fs::read_to_string(&file) {
            Ok(text) => text.trim().parse().with_context(|| format!("{} has no number in it", file.display()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
        };
        let boot = last.checked_add(1).context("the counter of starts is at its end")?;
        private_file::replace(&file, format!("{boot}\n").as_bytes())
            .with_context(|| format!("cannot write {}", file.display()))?;
        Ok(boot)
    }

    /// A secret that is kept in a file of this directory: made at the first start, the same ever after. Says whether it was made
    /// just now.
    pub fn secret(&self, name: &str, make: impl FnOnce() -> String) -> anyhow::Result<(SecretString, bool)> {
        let file = self.path.join(name);
        match fs::read_to_string(&file) {
            Ok(text) if !text.trim().is_empty() => Ok((text.trim().into(), false)),
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot read {}", file.display()))
            }
            _ => {
                let secret = make();
                private_file::replace(&file, format!("{secret}\n").as_bytes())
                    .with_context(|| format!("cannot write {}", file.display()))?;
                Ok((secret.into(), true))
            }
        }
    }
}

/// A secret of so many random bytes, in letters that need no escaping anywhere.
pub fn random_secret(bytes: usize) -> String {
    let random: Vec<u8> = (0..bytes).map(|_| rand::random()).collect();
    URL_SAFE_NO_PAD.encode(random)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn two_platforms_do_not_share_a_directory() {
        let directory = tempfile::tempdir().unwrap();
        let first = DataDir::open(directory.path()).unwrap();
        let refused = DataDir::open(directory.path()).unwrap_err();
        assert_eq!(refused.exit, Exit::Conflict);
        assert!(refused.message.contains(&format!("process {}", std::process::id())), "{refused}");
        drop(first);
        DataDir::open(directory.path()).unwrap();
    }

    #[test]
    fn starts_are_counted() {
        let directory = tempfile::tempdir().unwrap();
        for expected in 1..4 {
            assert_eq!(DataDir::open(directory.path()).unwrap().next_boot().unwrap(), expected);
        }
        fs::write(directory.path().join("boot"), "many").unwrap();
        assert!(DataDir::open(directory.path()).unwrap().next_boot().is_err());
    }

    #[test]
    fn a_secret_is_made_once() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::open(directory.path()).unwrap();
        let (first, made) = data.secret("jwt-secret", || random_secret(48)).unwrap();
        assert!(made && first.expose_secret().len() >= 32);
        let (second, made) = data.secret("jwt-secret", || unreachable!("it is there")).unwrap();
        assert!(!made);
        assert_eq!(first.expose_secret(), second.expose_secret());
    }

    #[cfg(unix)]
    #[test]
    fn secrets_are_their_owners() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::open(&directory.path().join("new")).unwrap();
        data.secret("admin-password", || "x".into()).unwrap();
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(data.path().join("admin-password")), 0o600);
        assert_eq!(mode(data.path().join("lock")), 0o600);
        assert_eq!(mode(data.path().to_path_buf()), 0o700);
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_a_clear_failure() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let failure = DataDir::open(&file.join("data")).unwrap_err();
        assert!(failure.message.contains("cannot be used"), "{failure}");
    }
}

//! The sign-in that `sker login` remembers: one per gateway, in a file that only its owner can read.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    exit::{Exit, Failure},
    private_file,
};

/// A sign-in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Who.
    pub email: String,
    /// Sent with each request.
    pub access_token: String,
    /// Gets the next pair.
    pub refresh_token: String,
}

impl Session {
    /// What a gateway answered to somebody.
    pub fn new(email: String, answer: sker_client::http::Session) -> Self {
        Session { email, access_token: answer.access_token, refresh_token: answer.refresh_token }
    }
}

/// The file with all of them, by the gateway's URL.
#[derive(Clone, Debug)]
pub struct SessionFile {
    path: PathBuf,
}

#[derive(Default, Serialize, Deserialize)]
struct Content {
    sessions: BTreeMap<String, Session>,
}

impl SessionFile {
    /// `$XDG_CONFIG_HOME/sker/credentials.json`, or the same in `~/.config`.
    pub fn find() -> Result<Self, Failure> {
        let directory = directory(std::env::var_os("XDG_CONFIG_HOME"), std::env::var_os("HOME"));
        let directory = directory.ok_or_else(|| {
            Failure::usage("neither XDG_CONFIG_HOME nor HOME is set, so there is no place to keep the sign-in")
        })?;
        Ok(SessionFile { path: directory.join("credentials.json") })
    }

    /// Holds other processes off until it is dropped.
    pub fn lock(&self) -> Result<fs::File, Failure> {
        let lock = || {
            private_file::create_directory(self.directory())?;
            let file = private_file::open_lock(&self.path.with_extension("lock"))?;
            file.lock()?;
            Ok(file)
        };
        lock().map_err(|error: io::Error| self.failure("cannot be locked", &error))
    }

    /// The sign-in at a gateway.
    pub fn read(&self, url: &str) -> Result<Option<Session>, Failure> {
        Ok(self.content()?.sessions.remove(url))
    }

    /// Remembers a sign-in, or forgets it. The file has those at other gateways too, so [`SessionFile::lock`] it before.
    pub fn write(&self, url: &str, session: Option<Session>) -> Result<(), Failure> {
        let mut content = self.content()?;
        match session {
            Some(session) => content.sessions.insert(url.to_owned(), session),
            None => content.sessions.remove(url),
        };
        let text = serde_json::to_vec_pretty(&content).map_err(io::Error::other)?;
        private_file::create_directory(self.directory())
            .and_then(|()| private_file::replace(&self.path, &text))
            .map_err(|error| self.failure("cannot be written", &error))
    }

    fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    fn content(&self) -> Result<Content, Failure> {
        match fs::read(&self.path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| self.failure("cannot be understood; delete it and sign in again", &error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Content::default()),
            Err(error) => Err(self.failure("cannot be read", &error)),
        }
    }

    fn failure(&self, what: &str, error: &dyn std::error::Error) -> Failure {
        Failure::new(Exit::Failure, format!("{} {what}: {error}", self.path.display()))
    }
}

/// The XDG Base Directory Specification ignores paths that are not absolute.
fn directory(xdg: Option<std::ffi::OsString>, home: Option<std::ffi::OsString>) -> Option<PathBuf> {
    let absolute = |path: PathBuf| path.is_absolute().then_some(path);
    let xdg = xdg.map(PathBuf::from).and_then(absolute);
    let home = home.map(PathBuf::from).and_then(absolute).map(|home| home.join(".config"));
    Some(xdg.or(home)?.join("sker"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(name: &str) -> Session {
        Session { email: format!("{name}@x.y"), access_token: "a".into(), refresh_token: "r".into() }
    }

    #[test]
    fn each_gateway_has_its_own_sign_in() {
        let home = tempfile::tempdir().unwrap();
        let file = SessionFile { path: home.path().join("config/sker/credentials.json") };
        assert!(file.read("http://a").unwrap().is_none());
        file.write("http://a", Some(session("ann"))).unwrap();
        file.write("http://b", Some(session("bob"))).unwrap();
        file.write("http://a", None).unwrap();
        assert!(file.read("http://a").unwrap().is_none());
        assert_eq!(file.read("http://b").unwrap().unwrap().email, "bob@x.y");
    }

    #[cfg(unix)]
    #[test]
    fn only_its_owner_can_read_the_sign_in() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().unwrap();
        let file = SessionFile { path: home.path().join("sker/credentials.json") };
        file.write("http://a", Some(session("ann"))).unwrap();
        // Also when the file was there before, open to all.
        fs::set_permissions(&file.path, fs::Permissions::from_mode(0o644)).unwrap();
        file.write("http://a", Some(session("ann"))).unwrap();
        assert_eq!(fs::metadata(&file.path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(home.path().join("sker")).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn the_first_sign_in_finds_nothing_to_lock_and_makes_it() {
        let home = tempfile::tempdir().unwrap();
        let file = SessionFile { path: home.path().join("sker/credentials.json") };
        drop(file.lock().unwrap());
        assert!(file.lock().is_ok(), "it is given back");
    }

    #[test]
    fn a_broken_file_is_not_thrown_away_silently() {
        let home = tempfile::tempdir().unwrap();
        let file = SessionFile { path: home.path().join("credentials.json") };
        fs::write(&file.path, "{").unwrap();
        assert!(file.write("http://a", Some(session("ann"))).is_err());
        assert_eq!(fs::read(&file.path).unwrap(), b"{");
    }

    #[test]
    fn the_place_follows_xdg() {
        assert_eq!(directory(Some("/x".into()), Some("/home/a".into())), Some("/x/sker".into()));
        assert_eq!(directory(Some("relative".into()), Some("/home/a".into())), Some("/home/a/.config/sker".into()));
        assert_eq!(directory(None, None), None);
    }
}

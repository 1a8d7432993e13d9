use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

use chrono::{DateTime, Utc};

use crate::{FileConfig, Rotation};

/// A log file that begins anew when it has grown too large or its day (or hour) is over. Old ones are kept beside it as
/// `NAME.20260131T235959.123456Z`, the newest `keep` of them.
#[derive(Debug)]
pub struct RotatingFile {
    config: FileConfig,
    file: File,
    size: u64,
    period: i64,
}

impl RotatingFile {
    /// Opens the file to append to it; makes its directory when it is not there.
    pub fn open(config: FileConfig) -> io::Result<Self> {
        if let Some(directory) = config.path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            fs::create_dir_all(directory)?;
        }
        let file = append(&config.path)?;
        let metadata = file.metadata()?;
        let written = if metadata.len() == 0 { SystemTime::now() } else { metadata.modified()? };
        let period = period(config.rotation, written.into());
        Ok(RotatingFile { file, size: metadata.len(), period, config })
    }

    /// Writes a whole line as of a time.
    fn write_at(&mut self, now: DateTime<Utc>, line: &[u8]) -> io::Result<()> {
        let period = period(self.config.rotation, now);
        let full = self.size + line.len() as u64 > self.config.max_bytes;
        // What cannot be rotated is written on to: a log that is too long is better than none.
        if self.size > 0 && (full || period != self.period) && self.rotate(now).is_ok() {
            self.size = 0;
        }
        self.period = period;
        self.file.write_all(line)?;
        self.size += line.len() as u64;
        Ok(())
    }

    fn rotate(&mut self, now: DateTime<Utc>) -> io::Result<()> {
        self.file.flush()?;
        fs::rename(&self.config.path, free_name(&self.config.path, now))?;
        self.file = append(&self.config.path)?;
        // One that cannot be removed now is removed after the next rotation.
        let _ = self.prune();
        Ok(())
    }

    fn prune(&self) -> io::Result<()> {
        let mut old = rotated(&self.config.path)?;
        old.sort();
        let surplus = old.len().saturating_sub(self.config.keep);
        old.iter().take(surplus).try_for_each(fs::remove_file)
    }
}

impl Write for RotatingFile {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.write_at(SystemTime::now().into(), buffer)?;
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

fn period(rotation: Rotation, time: DateTime<Utc>) -> i64 {
    match rotation {
        Rotation::Daily => time.timestamp().div_euclid(86_400),
        Rotation::Hourly => time.timestamp().div_euclid(3_600),
        Rotation::Never => 0,
    }
}

fn free_name(path: &Path, now: DateTime<Utc>) -> PathBuf {
    let mut micros = now.timestamp_micros();
    loop {
        let time = DateTime::from_timestamp_micros(micros).unwrap_or(now);
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}Z", time.format("%Y%m%dT%H%M%S%.6f")));
        if !Path::new(&name).exists() {
            return name.into();
        }
        micros += 1;
    }
}

fn rotated(path: &Path) -> io::Result<Vec<PathBuf>> {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return Ok(Vec::new()) };
    let prefix = format!("{name}.");
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let is_ours = entry.file_name().to_str().and_then(|other| other.strip_prefix(&prefix)).is_some_and(is_stamp);
        if is_ours {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Only files that were named here are ever removed.
fn is_stamp(text: &str) -> bool {
    let form = |character: char| if character.is_ascii_digit() { '0' } else { character };
    text.chars().map(form).eq("00000000T000000.000000Z".chars())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(directory: &Path, max_bytes: u64, rotation: Rotation, keep: usize) -> FileConfig {
        FileConfig { path: directory.join("logs/store.log"), max_bytes, rotation, keep }
    }

    fn contents(config: &FileConfig) -> (Vec<String>, String) {
        let mut old = rotated(&config.path).unwrap();
        old.sort();
        let old = old.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
        (old, fs::read_to_string(&config.path).unwrap())
    }

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_file_that_would_grow_too_large_begins_anew() {
        let directory = tempfile::tempdir().unwrap();
        let config = config(directory.path(), 10, Rotation::Never, 9);
        let mut file = RotatingFile::open(config.clone()).unwrap();
        for line in ["12345", "67890", "a", "a line longer than the limit", "b"] {
            file.write_at(time("2026-01-01T00:00:00Z"), line.as_bytes()).unwrap();
        }
        let old = vec!["1234567890".to_owned(), "a".to_owned(), "a line longer than the limit".to_owned()];
        assert_eq!(contents(&config), (old, "b".to_owned()));
    }

    #[test]
    fn a_new_day_and_a_new_hour_begin_a_new_file() {
        for (rotation, same, other) in [
            (Rotation::Daily, "2026-01-31T23:59:59Z", "2026-02-01T00:00:00Z"),
            (Rotation::Hourly, "2026-01-31T00:59:59Z", "2026-01-31T01:00:00Z"),
        ] {
            let directory = tempfile::tempdir().unwrap();
            let config = config(directory.path(), 1 << 20, rotation, 9);
            let mut file = RotatingFile::open(config.clone()).unwrap();
            file.write_at(time("2026-01-31T00:00:00Z"), b"a").unwrap();
            file.write_at(time(same), b"b").unwrap();
            file.write_at(time(other), b"c").unwrap();
            assert_eq!(contents(&config), (vec!["ab".to_owned()], "c".to_owned()), "{rotation:?}");
        }
    }

    #[test]
    fn only_the_newest_are_kept_and_foreign_files_are_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let config = config(directory.path(), 1, Rotation::Never, 2);
        let mut file = RotatingFile::open(config.clone()).unwrap();
        let foreign = directory.path().join("logs/store.log.backup");
        fs::write(&foreign, "mine").unwrap();
        for line in ["1", "2", "3", "4", "5"] {
            file.write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(contents(&config), (vec!["3".to_owned(), "4".to_owned()], "5".to_owned()));
        assert_eq!(fs::read_to_string(foreign).unwrap(), "mine");
    }

    #[test]
    fn a_restart_appends_to_the_same_file() {
        let directory = tempfile::tempdir().unwrap();
        let config = config(directory.path(), 10, Rotation::Never, 9);
        for line in ["12345", "67890", "x"] {
            RotatingFile::open(config.clone()).unwrap().write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(contents(&config), (vec!["1234567890".to_owned()], "x".to_owned()));
    }
}

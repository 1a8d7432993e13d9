use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use crate::support::SECRET;

const PROGRAM: &str = env!("CARGO_BIN_EXE_sker-database-service");

fn run(program: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = program.output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn program(args: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.env_clear().args(args);
    command
}

#[test]
fn a_wrong_configuration_is_told_in_full_with_status_64() {
    let (status, _, stderr) =
        run(program(&["--set", "http.prot=1", "--set", "checks.failures=no"]).env("NACOS_URL", "http://h"));
    assert_eq!(status, Some(64), "{stderr}");
    for part in ["jwt_secret", "http.prot", "checks.failures", "environment variable NACOS_URL", "4 faults"] {
        assert!(stderr.contains(part), "{part} is not in {stderr}");
    }
    let (status, _, _) = run(&mut program(&["--no-such-flag"]));
    assert_eq!(status, Some(64));
}

#[test]
fn the_configuration_is_checked_and_dumped_without_its_secret() {
    let (status, _, stderr) = run(program(&["--check-config"]).env("JWT_SECRET", SECRET));
    assert_eq!(status, Some(0), "{stderr}");
    let (status, stdout, _) = run(program(&["--dump-config", "--set", "http.port=9999"]).env("JWT_SECRET", SECRET));
    assert_eq!(status, Some(0));
    assert!(stdout.contains("port = 9999  # flag") && !stdout.contains(SECRET), "{stdout}");
}

#[test]
fn health_of_a_service_that_does_not_run_is_status_1() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let (status, _, stderr) =
        run(program(&["--health", "--set", &format!("http.port={port}")]).env("JWT_SECRET", SECRET));
    assert_eq!(status, Some(1), "{stderr}");
}

#[test]
fn the_start_script_takes_an_environment_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = root.join("scripts/start.sh");
    let start = |file: &Path, flag: &str| {
        let mut command = Command::new(&script);
        command.arg(file).arg(flag).env_clear().env("PATH", "/usr/bin:/bin");
        command.env("SKER_BIN_DIR", Path::new(PROGRAM).parent().unwrap());
        command
    };
    let (status, _, stderr) = run(&mut start(&root.join("config/development.env"), "--check-config"));
    assert_eq!(status, Some(0), "{stderr}");
    let production = root.join("config/production.env");
    let (status, _, stderr) = run(start(&production, "--check-config").env("JWT_SECRET", SECRET));
    assert_eq!(status, Some(0), "{stderr}");
    let (status, _, stderr) = run(&mut start(&production, "--check-config"));
    assert!(status == Some(64) && stderr.contains("jwt_secret"), "production has no secret of its own: {stderr}");

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("own.env");
    fs::write(&file, format!("# remark\nJWT_SECRET={SECRET}$(exit 9)`x`\nSKER_DATABASE_SERVICE__HTTP__PORT=9998"))
        .unwrap();
    let (status, stdout, stderr) = run(&mut start(&file, "--dump-config"));
    assert_eq!(status, Some(0), "{stderr}");
    assert!(stdout.contains("port = 9998  # environment variable SKER_DATABASE_SERVICE__HTTP__PORT"), "{stdout}");
    let (status, _, _) = run(&mut start(&directory.path().join("missing.env"), "--dump-config"));
    assert_eq!(status, Some(64));
}

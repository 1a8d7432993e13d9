use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Set for the child that such a test starts: this test binary again, running the same test.
const CHILD: &str = "SKER_TEST_SIGNAL_CHILD";

/// Runs in the child: says when it listens, and when the token was cancelled; ends only when `polite`.
fn child(polite: bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let token = sker_runtime::signal::shutdown_token().unwrap();
        println!("\nlistening");
        token.cancelled().await;
        println!("\ncancelled");
        if !polite {
            std::future::pending::<()>().await;
        }
    });
}

fn start(test: &str) -> (Child, impl FnMut(&str)) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, move |expected: &str| {
        assert!(lines.any(|line| line.unwrap() == expected), "the child never said {expected}")
    })
}

fn send(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
}

#[test]
fn a_second_signal_exits_at_once() {
    if std::env::var_os(CHILD).is_some() {
        return child(false);
    }
    let (mut child, mut until) = start("signal::a_second_signal_exits_at_once");
    until("listening");
    send(&child, Signal::SIGTERM);
    until("cancelled");
    send(&child, Signal::SIGINT);
    assert_eq!(child.wait().unwrap().code(), Some(sker_runtime::signal::EXIT_INTERRUPTED));
}

#[test]
fn the_first_signal_lets_the_program_end_by_itself() {
    if std::env::var_os(CHILD).is_some() {
        return child(true);
    }
    let (mut child, mut until) = start("signal::the_first_signal_lets_the_program_end_by_itself");
    until("listening");
    send(&child, Signal::SIGINT);
    until("cancelled");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

//! `sker demo FILE`: the platform's main job on one file, from the start of the platform to its end.

mod feed;
mod file;
mod progress;
mod report;
mod sections;
mod tracker;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use sker_client::http::Platform as Gateway;

use self::{progress::Progress, report::Report, sections::Section};
use crate::{
    cli::{ClientArgs, DemoArgs},
    exit::{Exit, Failure},
    output::Output,
    up::{self, Platform, data_dir::random_secret},
};

/// Runs the demo.
pub fn run(client: &ClientArgs, args: DemoArgs) -> Result<(), Failure> {
    // Everything that can be wrong with the file is, before anything is started.
    let text = file::read(&args.file)?;
    let sections = sections::split(&text);
    let output = Output::new(client.output);
    let runtime = up::runtime()?;
    let result = runtime.block_on(demo(&args.file, &sections, output));
    runtime.shutdown_timeout(Duration::from_secs(5));
    result
}

async fn demo(path: &Path, sections: &[Section<'_>], output: Output) -> Result<(), Failure> {
    let began = Instant::now();
    let shutdown = sker_runtime::signal::shutdown_token()?;
    let directory = tempfile::Builder::new().prefix("sker-demo-").tempdir()?;
    let prepared = up::prepare_demo(directory.path())?;
    let _telemetry = up::telemetry::init_for_demo(&prepared.configs.telemetry)?;
    let progress = Progress::new();
    progress.say(&format!("{}: {} sections; starting the platform", path.display(), sections.len()));
    let platform = Platform::start(prepared, began, &shutdown).await?.ok_or_else(interrupted)?;
    let starting = platform.started_in();
    progress.say(&format!("ready in {:.2} s at {}", starting.as_secs_f64(), platform.gateway_url()));
    let result = tokio::select! {
        report = work(&platform, path, sections, &progress) => report,
        reason = platform.failed() => Err(Failure::new(Exit::Failure, reason)),
        () = shutdown.cancelled() => Err(interrupted()),
    };
    progress.finish();
    let printed = result.and_then(|report| report.print(output));
    platform.stop().await;
    printed
}

fn interrupted() -> Failure {
    Failure::new(Exit::Interrupted, "interrupted")
}

async fn work(
    platform: &Platform,
    path: &Path,
    sections: &[Section<'_>],
    progress: &Progress,
) -> Result<Report, Failure> {
    let gateway = Gateway::new(platform.gateway_url())?;
    let session = gateway.sign_up("demo@sker.local", "demo", &random_secret(24)).await?;
    let name = path.file_name().map_or_else(|| "demo".to_owned(), |name| name.to_string_lossy().into_owned());
    let fed = feed::run(&gateway, session, &name, sections, progress).await?;
    Report::read(&gateway, &path.display().to_string(), sections, &fed, platform.started_in()).await
}

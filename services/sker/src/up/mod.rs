//! The whole platform in this process: `sker up`, and what the demo starts.

pub mod data_dir;
mod platform;
mod prepare;
mod settings;
mod status;
pub mod telemetry;

use std::{
    io::{self, Write},
    path::{self, Path},
    time::{Duration, Instant},
};

pub use platform::Platform;
use sker_config::Action;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use secrecy::ExposeSecret;

use self::{data_dir::DataDir, prepare::Prepared, settings::Settings};
use crate::{
    cli::UpArgs,
    exit::{Exit, Failure},
    output::line,
};

/// How long what is still running may take once everything has been stopped.
const LAST_BREATH: Duration = Duration::from_secs(2);

/// Runs `sker up`.
pub fn run(args: UpArgs) -> Result<(), Failure> {
    let began = Instant::now();
    let settings = Settings::from_process(&args.common).map_err(|faults| wrong_configuration(&faults.join("\n")))?;
    let directory = path::absolute(args.data_dir.unwrap_or_else(data_dir::default_path))?;
    match args.common.action() {
        Action::DumpConfig => dump(settings, &directory),
        Action::CheckConfig => {
            prepare::load(prepare::rehearse(settings, &directory))?;
            Ok(line("the configuration of all services is right")?)
        }
        Action::Health => {
            let configs = prepare::load(prepare::rehearse(settings, &directory))?;
            runtime()?.block_on(status::print(&configs))
        }
        Action::Run => {
            // Everything that is wrong is said before the data directory is made or a port is bound.
            prepare::load(prepare::rehearse(settings.clone(), &directory))?;
            let data = DataDir::open(&directory)?;
            let runtime = runtime()?;
            let result = runtime.block_on(serve(settings, data, began));
            runtime.shutdown_timeout(LAST_BREATH);
            result
        }
    }
}

async fn serve(settings: Settings, data: DataDir, began: Instant) -> Result<(), Failure> {
    let prepared = prepare::prepare(settings, data)?;
    let _telemetry = telemetry::init(&prepared.configs.telemetry)?;
    let shutdown = sker_runtime::signal::shutdown_token()?;
    let data = prepared.data.path().to_owned();
    let Some(platform) = Platform::start(prepared, began, &shutdown).await? else { return Ok(()) };
    let announced = announce(&platform, &data).map_err(Failure::from);
    let result = match announced {
        Ok(()) => run_until(&platform, &shutdown).await,
        // Nobody would learn the password, or where it is.
        Err(failure) => Err(failure),
    };
    platform.stop().await;
    result
}

async fn run_until(platform: &Platform, shutdown: &CancellationToken) -> Result<(), Failure> {
    tokio::select! {
        () = shutdown.cancelled() => {
            // Somebody who closed standard output still gets a clean stop.
            let _ = writeln!(io::stdout(), "stopping");
            Ok(())
        }
        reason = platform.failed() => Err(Failure::new(Exit::Failure, reason)),
    }
}

/// Prints where everything is, and once who may administer it.
fn announce(platform: &Platform, data: &Path) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "SKER is ready in {:.2} s; data in {}", platform.started_in().as_secs_f64(), data.display())?;
    for address in platform.addresses() {
        let grpc = address.grpc.map(|grpc| format!("   gRPC {grpc}")).unwrap_or_default();
        writeln!(out, "  {:<17} http://{}{grpc}", address.service, address.http)?;
    }
    if let Some((email, password)) = platform.first_admin() {
        let file = data.join(prepare::ADMIN_PASSWORD_FILE);
        writeln!(out, "Administrator: {email}")?;
        writeln!(out, "  password: {}   (also in {})", password.expose_secret(), file.display())?;
    }
    writeln!(out, "Ctrl-C stops it.")?;
    out.flush()
}

fn dump(settings: Settings, directory: &Path) -> Result<(), Failure> {
    let settings = prepare::rehearse(settings, directory);
    for (section, layers) in prepare::all_layers(&settings) {
        let text = sker_config::dump(&layers).map_err(|faults| wrong_configuration(&faults.to_string()))?;
        line(&under_section(section, &text))?;
    }
    Ok(())
}

/// A service's configuration as a section of the platform's file, so that the output can be read back.
fn under_section(section: &str, text: &str) -> String {
    let mut output = format!("[{section}]\n");
    for text in text.lines() {
        match text.strip_prefix('[') {
            Some(table) => output.push_str(&format!("[{section}.{table}")),
            None => output.push_str(text),
        }
        output.push('\n');
    }
    output
}

/// A fault of the configuration.
fn wrong_configuration(message: &str) -> Failure {
    Failure::new(Exit::Config, message)
}

/// What runs the platform.
pub fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("sker").build()
}

/// What the demo starts: free ports, data in a directory that goes.
pub fn prepare_demo(directory: &Path) -> Result<Prepared, Failure> {
    let settings = Settings::for_demo().map_err(|faults| wrong_configuration(&faults.join("\n")))?;
    prepare::prepare(settings, DataDir::open(directory)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dumped_section_reads_back() {
        let text = under_section("store", "a = 1\n\n[http]\nport = 2\n\n[[x.y]]\nz = 3\n");
        let read: toml::Table = text.replace("[store.[x.y]]", "").parse().unwrap();
        assert_eq!(read["store"]["http"]["port"].as_integer(), Some(2));
        assert_eq!(read["store"]["a"].as_integer(), Some(1));
    }
}

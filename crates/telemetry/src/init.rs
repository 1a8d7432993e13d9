use std::{io, io::IsTerminal, time::Duration};

use anyhow::{Context, bail};
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{Sampler, SdkTracerProvider},
};
use tracing::Level;
use tracing_appender::non_blocking::{NonBlocking, WorkerGuard};
use tracing_subscriber::{
    EnvFilter, Layer, Registry, filter::dynamic_filter_fn, fmt, layer::SubscriberExt, util::SubscriberInitExt,
};

use crate::{LogConfig, LogFormat, LogOutput, RedactingWriter, RotatingFile, TelemetryConfig};

/// How long the guard waits for the last spans to leave.
const FLUSH: Duration = Duration::from_secs(3);

type BoxedLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// Writes what is not yet written when it is dropped. Keep it until the end of `main`.
#[must_use = "logs and spans are lost when the guard is dropped at once"]
#[derive(Debug)]
pub struct Guard {
    provider: SdkTracerProvider,
    _writers: Vec<WorkerGuard>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Nobody is left who could be told that the last spans did not arrive.
        let _ = self.provider.shutdown_with_timeout(FLUSH);
    }
}

/// Starts logs and traces for this process. `service` names the process in exported spans.
///
/// # Errors
/// When it was called before, when the log file cannot be written, and when the configuration is wrong. With an OTLP
/// endpoint it must be called inside a tokio runtime.
pub fn init(service: &str, config: &TelemetryConfig) -> anyhow::Result<Guard> {
    if let Some((key, message)) = config.faults().into_iter().next() {
        bail!("{key} {message}");
    }
    let provider = tracer_provider(service, config.otlp_endpoint.as_deref())?;
    let tracer = provider.tracer("sker");
    let mut writers = Vec::new();
    let mut layers: Vec<BoxedLayer> = Vec::new();
    // Spans are kept whatever the log levels are, so that trace ids do not depend on them; the details of HTTP
    // libraries are below `info`. Dynamic, because what filters by layer decide is kept for the thread until something
    // asks them again: where they are not asked each time, a mere question (`log::log_enabled!` by sqlx after every
    // statement) decides about the next span or line on that thread.
    let spans = dynamic_filter_fn(|metadata, _| metadata.is_span() && *metadata.level() <= Level::INFO)
        .with_max_level_hint(Level::INFO);
    layers.push(tracing_opentelemetry::layer().with_tracer(tracer).with_filter(spans).boxed());
    for (writer, colours) in writers_of(&config.log, &mut writers)? {
        layers.push(lines(&config.log, writer, colours)?);
    }
    tracing_subscriber::registry().with(layers).try_init().context("telemetry was already started")?;
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
    opentelemetry::global::set_tracer_provider(provider.clone());
    log_panics();
    Ok(Guard { provider, _writers: writers })
}

fn tracer_provider(service: &str, endpoint: Option<&str>) -> anyhow::Result<SdkTracerProvider> {
    let resource = Resource::builder().with_service_name(service.to_owned()).build();
    let builder = SdkTracerProvider::builder().with_resource(resource);
    let Some(endpoint) = endpoint else {
        // Ids are made and passed on; nothing is recorded, which would only cost.
        return Ok(builder.with_sampler(Sampler::AlwaysOff).build());
    };
    if tokio::runtime::Handle::try_current().is_err() {
        bail!("spans can only be exported from inside a tokio runtime");
    }
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .build()
        .context("cannot export spans to otlp_endpoint")?;
    let sampler = Sampler::ParentBased(Box::new(Sampler::AlwaysOn));
    Ok(builder.with_sampler(sampler).with_batch_exporter(exporter).build())
}

/// The places that lines go to, each with whether it shows colours.
fn writers_of(log: &LogConfig, guards: &mut Vec<WorkerGuard>) -> anyhow::Result<Vec<(NonBlocking, bool)>> {
    let mut writers = Vec::new();
    let mut add = |writer, guard, colours| {
        guards.push(guard);
        writers.push((writer, colours));
    };
    match log.output {
        LogOutput::Stdout => {
            let (writer, guard) = tracing_appender::non_blocking(RedactingWriter::new(io::stdout()));
            add(writer, guard, io::stdout().is_terminal());
        }
        LogOutput::Stderr => {
            let (writer, guard) = tracing_appender::non_blocking(RedactingWriter::new(io::stderr()));
            add(writer, guard, io::stderr().is_terminal());
        }
        LogOutput::Off => {}
    }
    if let Some(file) = &log.file {
        let path = file.path.display().to_string();
        let file = RotatingFile::open(file.clone()).with_context(|| format!("cannot write the log file {path}"))?;
        let (writer, guard) = tracing_appender::non_blocking(RedactingWriter::new(file));
        add(writer, guard, false);
    }
    Ok(writers)
}

fn lines(log: &LogConfig, writer: NonBlocking, colours: bool) -> anyhow::Result<BoxedLayer> {
    let levels = EnvFilter::try_new(&log.level).context("log.level")?;
    let layer = fmt::layer().with_writer(writer).with_ansi(colours);
    Ok(match log.format {
        LogFormat::Json => {
            layer.json().flatten_event(true).with_current_span(true).with_span_list(false).with_filter(levels).boxed()
        }
        LogFormat::Pretty => layer.with_filter(levels).boxed(),
    })
}

/// A panic is logged like anything else, so that it is redacted and reaches the files, too.
fn log_panics() {
    std::panic::set_hook(Box::new(|info| {
        let message = info.payload_as_str().unwrap_or("no message");
        let location = info.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        tracing::error!(panic.location = location, panic.thread = thread, "panicked: {message}");
    }));
}

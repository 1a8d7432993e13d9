//! Telemetry can be started once per process, so that all that needs it started is one test.

use sker_telemetry::{FileConfig, LogConfig, LogFormat, LogOutput, Rotation, TelemetryConfig, init, trace};
use tracing::info_span;

const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[test]
fn a_process_logs_to_its_file_and_passes_traces_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("service.log");
    let file = FileConfig { path: path.clone(), max_bytes: 1 << 20, rotation: Rotation::Never, keep: 1 };
    let log =
        LogConfig { format: LogFormat::Json, level: "warn".into(), output: LogOutput::Off, file: Some(file.clone()) };
    let config = TelemetryConfig { log, otlp_endpoint: None };
    let guard = init("test", &config).unwrap();
    assert!(init("test", &config).unwrap_err().to_string().contains("already started"));

    spans_have_trace_ids_without_an_exporter();
    a_caller_s_trace_goes_on();
    what_is_no_traceparent_begins_a_new_trace();

    info_span!("request", request_id = "r-1").in_scope(|| {
        tracing::info!("not at this level");
        tracing::warn!(db.url = "postgres://u:hunter2@db/x", "slow");
    });
    let panicked = std::thread::spawn(|| panic!("cannot open redis://u:hunter2@h")).join();
    assert!(panicked.is_err());
    drop(guard);

    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].contains(r#""message":"slow""#) && lines[0].contains(r#""level":"WARN""#), "{text}");
    assert!(lines[1].contains("panicked: cannot open redis://u:[redacted]@h"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

fn spans_have_trace_ids_without_an_exporter() {
    assert_eq!(trace::current_traceparent(), None);
    let outer = info_span!("outer");
    let (outer_id, inner_id) = outer.in_scope(|| {
        let inner = info_span!("inner");
        (trace_of(&outer), trace_of(&inner))
    });
    assert_eq!(outer_id, inner_id);
    let traceparent = trace::traceparent_of(&outer).unwrap();
    assert_eq!((traceparent.len(), &traceparent[3..35]), (55, outer_id.as_str()));
}

fn a_caller_s_trace_goes_on() {
    assert!(trace::is_valid(CALLER));
    let span = info_span!("request");
    trace::set_parent(&span, CALLER);
    let current = span.in_scope(|| trace::current_traceparent().unwrap());
    assert!(current.starts_with(&CALLER[..36]), "{current}");
    assert_ne!(current[36..52], CALLER[36..52], "the span has an id of its own");

    let next = info_span!("next service");
    trace::set_parent(&next, &current);
    assert_eq!(trace::traceparent_of(&next).unwrap()[..35], CALLER[..35]);
}

fn what_is_no_traceparent_begins_a_new_trace() {
    for text in ["", "nonsense", "00-00000000000000000000000000000000-b7ad6b7169203331-01", "00-zz-zz-01", "\n"] {
        assert!(!trace::is_valid(text), "{text:?}");
        let span = info_span!("request");
        trace::set_parent(&span, text);
        let id = trace_of(&span);
        assert!(id.len() == 32 && id.chars().any(|c| c != '0'), "{text:?} {id}");
    }
}

#[test]
fn what_is_wrong_with_a_configuration_is_named() {
    let file = FileConfig { path: "/".into(), max_bytes: 1, rotation: Rotation::Daily, keep: 0 };
    let log = LogConfig { level: "loud=very".into(), file: Some(file), ..LogConfig::default() };
    let config = TelemetryConfig { log, otlp_endpoint: Some("ftp://x".into()) };
    let keys: Vec<&str> = config.faults().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["log.level", "log.file.path", "log.file.max_bytes", "otlp_endpoint"]);
    assert!(TelemetryConfig::default().faults().is_empty());
}

/// The trace that a span belongs to.
fn trace_of(span: &tracing::Span) -> String {
    trace::traceparent_of(span).expect("the span is in a trace")[3..35].to_owned()
}

//! Where the spans of a platform under test go.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use anyhow::Result;
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{AnyValue, any_value::Value},
    trace::v1::ResourceSpans,
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

/// An OTLP collector that keeps what it is sent.
pub struct Collector {
    /// Where it listens.
    pub endpoint: String,
    spans: Spans,
    serving: JoinHandle<Result<(), tonic::transport::Error>>,
}

/// A span, as far as tests look at it.
#[derive(Clone, Debug)]
pub struct Span {
    /// `service.name` of the program it is from.
    pub service: String,
    pub name: String,
    pub id: Vec<u8>,
    pub parent: Vec<u8>,
    trace: Vec<u8>,
}

#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<Span>>>);

#[tonic::async_trait]
impl TraceService for Spans {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let spans = request.into_inner().resource_spans.into_iter().flat_map(read);
        self.0.lock().expect("not poisoned").extend(spans);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn read(sent: ResourceSpans) -> Vec<Span> {
    let attributes = sent.resource.map(|resource| resource.attributes).unwrap_or_default();
    let service = attributes.into_iter().find(|attribute| attribute.key == "service.name");
    let service = match service.and_then(|service| service.value) {
        Some(AnyValue { value: Some(Value::StringValue(name)) }) => name,
        _ => String::new(),
    };
    let spans = sent.scope_spans.into_iter().flat_map(|scope| scope.spans);
    spans
        .map(|span| Span {
            service: service.clone(),
            name: span.name,
            id: span.span_id,
            parent: span.parent_span_id,
            trace: span.trace_id,
        })
        .collect()
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Collector {
    pub async fn start() -> Result<Self> {
        let spans = Spans::default();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let server = Server::builder().add_service(TraceServiceServer::new(spans.clone()));
        let serving = tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Ok(Collector { endpoint, spans, serving })
    }

    /// The spans of one trace.
    pub fn of(&self, trace_id: &[u8]) -> Vec<Span> {
        let spans = self.spans.0.lock().expect("not poisoned");
        spans.iter().filter(|span| span.trace == trace_id).cloned().collect()
    }

    /// What came at all, as `service: name` by number, for the message of a failed test.
    pub fn summary(&self) -> BTreeMap<String, usize> {
        let mut summary = BTreeMap::new();
        for span in self.spans.0.lock().expect("not poisoned").iter() {
            *summary.entry(format!("{}: {}", span.service, span.name)).or_default() += 1;
        }
        summary
    }
}

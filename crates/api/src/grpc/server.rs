use std::{panic::AssertUnwindSafe, pin::Pin, sync::Arc, time::Instant};

use futures::{FutureExt as _, StreamExt as _, stream::BoxStream};
use sker_auth::TokenKeys;
use sker_error::{Error, Result};
use sker_telemetry::{
    Metrics,
    prometheus::{HistogramVec, IntCounterVec},
};
use tonic::{Request, Response, Status};
use tracing::Instrument as _;

use super::{call::pascal_case, metadata::admit, to_status};
use crate::Ctx;

/// A stream whose errors are statuses.
pub(super) type WireStream<T> = BoxStream<'static, Result<T, Status>>;

/// Maps a stream's errors for the wire.
pub(super) fn to_wire<T: 'static>(stream: BoxStream<'static, Result<T>>) -> WireStream<T> {
    stream.map(|item| item.map_err(|error| to_status(&error))).boxed()
}

type Call<R> = Pin<Box<dyn Future<Output = Result<R>> + Send>>;

/// One service's implementation behind gRPC.
pub(super) struct Adapter<A: ?Sized> {
    api: Arc<A>,
    keys: Arc<TokenKeys>,
    calls: IntCounterVec,
    durations: HistogramVec,
}

impl<A: ?Sized> Adapter<A> {
    pub(super) fn new(api: Arc<A>, keys: Arc<TokenKeys>, metrics: &Metrics) -> Self {
        let help = "gRPC calls answered, by method and code.";
        let calls = metrics.counter_vec("grpc_requests_total", help, &["method", "code"]);
        let help = "How long gRPC calls took; for streams, until they began.";
        let durations = metrics.histogram_vec("grpc_request_duration_seconds", help, &["method"]);
        Adapter { api, keys, calls, durations }
    }
}

impl<A: ?Sized> Clone for Adapter<A> {
    fn clone(&self) -> Self {
        let Adapter { api, keys, calls, durations } = self;
        Adapter { api: api.clone(), keys: keys.clone(), calls: calls.clone(), durations: durations.clone() }
    }
}

impl<A: ?Sized + Send + Sync + 'static> Adapter<A> {
    /// Admits the caller, then runs the call in a span that continues the caller's trace, under its deadline. A panic is
    /// the answer to this call alone; left to itself it would cut the connection with every other call on it.
    pub(super) async fn handle<Q, R>(
        &self,
        service: &'static str,
        method: &'static str,
        request: Request<Q>,
        call: impl FnOnce(Arc<A>, Ctx, Q) -> Call<R>,
    ) -> Result<Response<R>, Status> {
        let (began, name) = (Instant::now(), pascal_case(method));
        let answer = self.admitted(service, &name, request, call).await;
        let code = answer.as_ref().map_or_else(|error| error.code().as_str(), |_| "ok");
        let method = format!("{service}/{name}");
        self.calls.with_label_values(&[method.as_str(), code]).inc();
        self.durations.with_label_values(&[method.as_str()]).observe(began.elapsed().as_secs_f64());
        answer.map(Response::new).map_err(|error| to_status(&error))
    }

    async fn admitted<Q, R>(
        &self,
        service: &'static str,
        method: &str,
        request: Request<Q>,
        call: impl FnOnce(Arc<A>, Ctx, Q) -> Call<R>,
    ) -> Result<R> {
        let (metadata, _, message) = request.into_parts();
        let ctx = admit(&self.keys, &metadata)?;
        let span = tracing::info_span!(
            "grpc",
            otel.name = format!("{service}/{method}"),
            otel.kind = "server",
            rpc.system = "grpc",
            rpc.service = service,
            rpc.method = method,
            request_id = %ctx.request_id,
        );
        if let Some(traceparent) = &ctx.traceparent {
            sker_telemetry::trace::set_parent(&span, traceparent);
        }
        let api = self.api.clone();
        let limits = ctx.clone();
        async move {
            let answer = AssertUnwindSafe(limits.bound(call(api, ctx, message))).catch_unwind().await;
            answer.unwrap_or_else(|_| Err(Error::internal("the call panicked")))
        }
        .instrument(span)
        .await
    }
}

/// Implements a generated server trait by calling the api trait's method of the same name.
macro_rules! serve {
    ($service:path = $name:expr, $api:ident { $($method:ident($request:ty) -> $response:ty;)* } $($rest:tt)*) => {
        #[tonic::async_trait]
        impl $service for Adapter<dyn $api> {
            $(
                async fn $method(
                    &self,
                    request: tonic::Request<$request>,
                ) -> Result<tonic::Response<$response>, tonic::Status> {
                    self.handle($name, stringify!($method), request, |api, ctx, message| {
                        Box::pin(async move { api.$method(&ctx, message).await })
                    })
                    .await
                }
            )*
            $($rest)*
        }
    };
}

/// Implements an api trait by calling the generated clients' methods of the same names. Each says after `=>` whether it may
/// be repeated: a function of the request.
macro_rules! forward {
    ($client:ident, $api:ident {
        $($field:ident: $service:expr => {
            $($method:ident($request:ty) -> $response:ty => $repeatable:expr;)*
        })*
    } $($rest:tt)*) => {
        #[async_trait::async_trait]
        impl $api for $client {
            $($(
                async fn $method(&self, ctx: &Ctx, message: $request) -> Result<$response> {
                    let repeatable = ($repeatable)(&message);
                    let method = Method { service: $service, name: stringify!($method), repeatable };
                    self.caller
                        .call(ctx, method, message, |request| {
                            let mut client = self.$field.clone();
                            async move { client.$method(request).await }
                        })
                        .await
                }
            )*)*
            $($rest)*
        }
    };
}

/// A method that may be repeated whatever it is asked.
pub(super) fn always<T>(_: &T) -> bool {
    true
}

pub(super) use {forward, serve};

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sker_auth::Claims;

    use super::*;

    #[tokio::test]
    async fn a_call_that_panics_is_answered_like_any_fault_of_our_own() {
        let keys = Arc::new(TokenKeys::hs256(&"0123456789abcdef0123456789abcdef".into()).unwrap());
        let token = keys.issue(&Claims::service("broker", Duration::from_secs(60))).unwrap();
        let mut request = Request::new(());
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        let metrics = Metrics::new("store");
        let adapter = Adapter::new(Arc::new(()), keys, &metrics);
        let call = |_, _, ()| -> Call<()> { Box::pin(async { panic!("the password is hunter2") }) };
        let status = adapter.handle("s.v1.S", "claim_tasks", request, call).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::Internal);
        assert!(!format!("{status:?}").contains("hunter2"));
        let counted = r#"grpc_requests_total{code="internal",method="s.v1.S/ClaimTasks",service="store"} 1"#;
        assert!(metrics.encode().contains(counted), "{}", metrics.encode());
    }
}

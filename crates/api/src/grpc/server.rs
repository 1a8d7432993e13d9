use std::{panic::AssertUnwindSafe, pin::Pin, sync::Arc};

use futures::{FutureExt as _, StreamExt as _, stream::BoxStream};
use sker_auth::TokenKeys;
use sker_error::{Error, Result};
use tonic::{Request, Response, Status};
use tracing::Instrument as _;

use super::{metadata::admit, to_status};
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
    pub(super) api: Arc<A>,
    pub(super) keys: Arc<TokenKeys>,
}

impl<A: ?Sized> Clone for Adapter<A> {
    fn clone(&self) -> Self {
        Adapter { api: self.api.clone(), keys: self.keys.clone() }
    }
}

impl<A: ?Sized + Send + Sync + 'static> Adapter<A> {
    /// Admits the caller, then runs the call in a span that continues the caller's trace, under its deadline. A panic is
    /// the answer to this call alone; left to itself it would cut the connection with every other call on it.
    pub(super) async fn handle<Q, R>(
        &self,
        method: &'static str,
        request: Request<Q>,
        call: impl FnOnce(Arc<A>, Ctx, Q) -> Call<R>,
    ) -> Result<Response<R>, Status> {
        let (metadata, _, message) = request.into_parts();
        let ctx = admit(&self.keys, &metadata).map_err(|error| to_status(&error))?;
        let span = tracing::info_span!("grpc", rpc.method = method, request_id = %ctx.request_id);
        if let Some(traceparent) = &ctx.traceparent {
            sker_telemetry::trace::set_parent(&span, traceparent);
        }
        let api = self.api.clone();
        let limits = ctx.clone();
        async move {
            let answer = AssertUnwindSafe(limits.bound(call(api, ctx, message))).catch_unwind().await;
            let answer = answer.unwrap_or_else(|_| Err(Error::internal("the call panicked")));
            answer.map(Response::new).map_err(|error| to_status(&error))
        }
        .instrument(span)
        .await
    }
}

/// Implements a generated server trait by calling the api trait's method of the same name.
macro_rules! serve {
    ($service:path, $api:ident { $($method:ident($request:ty) -> $response:ty;)* } $($rest:tt)*) => {
        #[tonic::async_trait]
        impl $service for Adapter<dyn $api> {
            $(
                async fn $method(
                    &self,
                    request: tonic::Request<$request>,
                ) -> Result<tonic::Response<$response>, tonic::Status> {
                    self.handle(stringify!($method), request, |api, ctx, message| {
                        Box::pin(async move { api.$method(&ctx, message).await })
                    })
                    .await
                }
            )*
            $($rest)*
        }
    };
}

/// Implements an api trait by calling the generated clients' methods of the same names.
macro_rules! forward {
    ($client:ident, $api:ident { $($field:ident . $method:ident($request:ty) -> $response:ty;)* } $($rest:tt)*) => {
        #[async_trait::async_trait]
        impl $api for $client {
            $(
                async fn $method(&self, ctx: &Ctx, message: $request) -> Result<$response> {
                    let request = self.auth.request(ctx, message)?;
                    let mut client = self.$field.clone();
                    ctx.bound(async { client.$method(request).await.map_err(from_status) })
                        .await
                        .map(tonic::Response::into_inner)
                }
            )*
            $($rest)*
        }
    };
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
        let adapter = Adapter { api: Arc::new(()), keys };
        let call = |_, _, ()| -> Call<()> { Box::pin(async { panic!("the password is hunter2") }) };
        let status = adapter.handle("claim_tasks", request, call).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::Internal);
        assert!(!format!("{status:?}").contains("hunter2"));
    }
}

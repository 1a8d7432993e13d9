//! Threads that take connections from one listener. Each runs everything of a connection itself: no lock, no hand-over.

use std::{cell::Cell, future::poll_fn, io, net::TcpListener, rc::Rc, sync::Arc, task::Poll, time::Duration};

use anyhow::Context;
use futures::stream::{FuturesUnordered, StreamExt};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    runtime::{Builder, LocalOptions},
    sync::oneshot,
    task::yield_now,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{dispatch::handle, socket::Socket, worker::Worker};
use crate::gateway::Gateway;

/// How long a connection that was just taken may need for its first request when the gateway stops.
const FIRST_REQUEST: Duration = Duration::from_millis(500);

/// How long a thread waits when the system has no file descriptor for another connection.
const OUT_OF_FILES: Duration = Duration::from_millis(50);

/// Serves until `stop` is cancelled; then takes no new connection and returns when what is in flight has ended, or when the
/// time for that is up.
pub async fn serve(gateway: Arc<Gateway>, listener: TcpListener, stop: CancellationToken) -> anyhow::Result<()> {
    listener.set_nonblocking(true).context("cannot use the HTTP listener")?;
    // When this future is dropped the threads end at once.
    let gone = CancellationToken::new();
    let _gone_at_end = gone.clone().drop_guard();
    let mut ends = FuturesUnordered::new();
    for index in 0..gateway.config.http.workers {
        let (ended, end) = oneshot::channel();
        let (gateway, stop, gone) = (Arc::clone(&gateway), stop.clone(), gone.clone());
        let listener = listener.try_clone().context("cannot share the HTTP listener")?;
        let thread = move || {
            // Nobody to tell means that `serve` was dropped.
            let _ = ended.send(run(gateway, listener, stop, gone));
        };
        std::thread::Builder::new().name(format!("gateway-{index}")).spawn(thread).context("cannot start a thread")?;
        ends.push(end);
    }
    drop(listener);
    while let Some(end) = ends.next().await {
        end.context("a thread of the gateway panicked")?.context("a thread of the gateway failed")?;
    }
    anyhow::ensure!(stop.is_cancelled(), "the threads of the gateway ended by themselves");
    Ok(())
}

fn run(
    gateway: Arc<Gateway>,
    listener: TcpListener,
    stop: CancellationToken,
    gone: CancellationToken,
) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let worker = Worker::new(gateway, stop);
        let _ = gone.run_until_cancelled(work(&worker, listener)).await;
        Ok(())
    })
}

async fn work(worker: &Rc<Worker>, listener: tokio::net::TcpListener) {
    let most = worker.gateway.config.http.max_connections;
    let mut sweep = interval(Duration::from_millis(500));
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = worker.stop.cancelled() => break,
            _ = sweep.tick() => worker.forward.pool.sweep(),
            // With as many connections as are allowed, the next ones wait in the listener's queue.
            accepted = listener.accept(), if worker.tracker.len() < most => match accepted {
                Ok((stream, peer)) => {
                    worker.tracker.spawn_local(connection(Rc::clone(worker), stream, peer));
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(error = %error, "cannot take a connection");
                    sleep(OUT_OF_FILES).await;
                }
            },
        }
    }
    take_those_that_wait(worker, listener);
    worker.tracker.close();
    let drain = worker.gateway.config.shutdown.drain();
    if timeout(drain, worker.tracker.wait()).await.is_err() {
        tracing::warn!(connections = worker.tracker.len(), "connections did not end in time and were dropped");
    }
}

/// Closes the listener. Who has been let in by the system already, and may have sent a request, would be reset by that, so they
/// are taken first.
fn take_those_that_wait(worker: &Rc<Worker>, listener: tokio::net::TcpListener) {
    // Asked directly: the runtime knows only what it was told before.
    let Ok(listener) = listener.into_std() else { return };
    loop {
        match listener.accept() {
            Ok((stream, peer)) => {
                if let Ok(stream) = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream)) {
                    worker.tracker.spawn_local(connection(Rc::clone(worker), stream, peer));
                }
            }
            Err(error) if is_of_one_connection(&error) => {}
            // Nobody waits any more.
            Err(_) => return,
        }
    }
}

/// Errors that concern a connection which is gone already, not the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Ready once a request has been seen; asked whenever the connection has moved.
fn came(seen: &Cell<bool>) -> impl Future<Output = ()> {
    poll_fn(|_| if seen.get() { Poll::Ready(()) } else { Poll::Pending })
}

async fn connection(worker: Rc<Worker>, stream: TcpStream, peer: std::net::SocketAddr) {
    // Without it small answers wait for the client's acknowledgement; failing here means that the client has left.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let config = &worker.gateway.config;
    let socket = TokioIo::new(Socket::new(stream, config.write_stall));
    let seen = Rc::new(Cell::new(false));
    let service = service_fn({
        let (worker, seen) = (Rc::clone(&worker), Rc::clone(&seen));
        move |request| {
            seen.set(true);
            let worker = Rc::clone(&worker);
            async move {
                if worker.stop.is_cancelled() {
                    // So that the connection is told before the answer's head is written.
                    yield_now().await;
                }
                handle(worker, peer.ip(), request).await
            }
        }
    });
    let served = worker.server.serve_connection_with_upgrades(socket, service);
    let first_head = sleep(Duration::from_millis(config.http.head_timeout_ms));
    let first_request = sleep(FIRST_REQUEST);
    tokio::pin!(served, first_head, first_request);
    let (mut waiting, mut ending, mut stopping) = (true, false, false);
    loop {
        tokio::select! {
            biased;
            // It has come while the gateway stops: its answer is the connection's last, and says so.
            () = came(&seen), if stopping => {
                stopping = false;
                served.as_mut().graceful_shutdown();
            }
            // An error is a client that hung up, or spoke no HTTP: hyper has answered it as far as it can be.
            _ = served.as_mut() => return,
            () = worker.stop.cancelled(), if !ending => {
                ending = true;
                if seen.get() {
                    served.as_mut().graceful_shutdown();
                } else {
                    // Its first request may be on the way, and nobody may repeat it.
                    stopping = true;
                    first_request.as_mut().reset(Instant::now() + FIRST_REQUEST);
                }
            }
            () = &mut first_request, if stopping => {
                stopping = false;
                served.as_mut().graceful_shutdown();
            }
            () = &mut first_head, if waiting => {
                waiting = false;
                if !seen.get() {
                    return;
                }
            }
        }
    }
}

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use arc_swap::ArcSwap;
use redis::{
    AsyncConnectionConfig, Client, ErrorKind, PushInfo, PushKind, RedisError, RedisResult, aio::MultiplexedConnection,
    cmd,
};
use tokio::sync::OnceCell;

/// A place for one connection that many commands use at a time. An ended one is replaced before a command is lost on it.
#[derive(Debug, Default)]
pub(super) struct Lane {
    link: ArcSwap<Link>,
}

/// One connection, made by whoever needs it first.
#[derive(Debug, Default)]
pub(super) struct Link {
    connected: OnceCell<Connected>,
    ended: Arc<AtomicBool>,
}

#[derive(Clone, Debug)]
pub(super) struct Connected {
    pub(super) connection: MultiplexedConnection,
    /// Names this run of the server's process: another one after every restart, and another one on each server.
    pub(super) server_run: Arc<str>,
}

impl Lane {
    /// The link to use now.
    pub(super) fn link(&self) -> Arc<Link> {
        let link = self.link.load_full();
        if !link.ended.load(Ordering::Acquire) {
            return link;
        }
        self.replace(&link);
        self.link.load_full()
    }

    /// Nobody new uses the link any more; it closes when the last command on it is done.
    pub(super) fn replace(&self, link: &Arc<Link>) {
        link.ended.store(true, Ordering::Release);
        self.link.compare_and_swap(link, Arc::new(Link::default()));
    }
}

impl Link {
    pub(super) async fn connected(&self, client: &Client) -> RedisResult<Connected> {
        let connected = self.connected.get_or_try_init(async || {
            // Whoever waited here for somebody else's connection does not try a second one after that failed.
            if self.ended.load(Ordering::Acquire) {
                return Err(RedisError::from((ErrorKind::Io, "the connection could not be made")));
            }
            let connected = connect(client, Arc::clone(&self.ended)).await;
            if connected.is_err() {
                self.ended.store(true, Ordering::Release);
            }
            connected
        });
        connected.await.cloned()
    }
}

async fn connect(client: &Client, ended: Arc<AtomicBool>) -> RedisResult<Connected> {
    let on_push = move |push: PushInfo| {
        if push.kind == PushKind::Disconnection {
            ended.store(true, Ordering::Release);
        }
        Ok::<(), redis::aio::SendError>(())
    };
    // The caller bounds the whole command, connecting included; the library's own shorter limits would only confuse.
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None)
        .set_pipeline_buffer_size(256)
        .set_push_sender(on_push);
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    let info: String = cmd("INFO").arg("server").query_async(&mut connection).await?;
    let server_run =
        info.lines().find_map(|line| line.strip_prefix("run_id:")).map(str::trim).unwrap_or_default().into();
    // For CLIENT LIST only: a user who may not do it goes without.
    let named = cmd("CLIENT").arg("SETNAME").arg(program_name()).query_async::<()>(&mut connection).await;
    if let Err(error) = named
        && error.is_unrecoverable_error()
    {
        return Err(error);
    }
    Ok(Connected { connection, server_run })
}

/// The running program's file name, without what Redis does not take in a name.
fn program_name() -> String {
    let path = std::env::current_exe().unwrap_or_default();
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let name: String = name.chars().filter(char::is_ascii_graphic).collect();
    if name.is_empty() { "sker".to_owned() } else { name }
}

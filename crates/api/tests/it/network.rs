use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// The way between a client and a server, which can go bad.
pub struct Network {
    pub address: SocketAddr,
    frozen: watch::Sender<bool>,
    /// So many connections are cut when the server's answer comes; 0 for none.
    cuts: Arc<AtomicU32>,
    _running: JoinSet<()>,
}

/// What a server says before it is asked anything (its HTTP/2 settings and their acknowledgement) is shorter than this, what it
/// says with an answer is longer.
const GREETING: usize = 100;

impl Network {
    pub async fn to(server: SocketAddr) -> Network {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (frozen, cuts) = (watch::Sender::new(false), Arc::new(AtomicU32::new(0)));
        let mut running = JoinSet::new();
        let (freezing, cutting) = (frozen.clone(), Arc::clone(&cuts));
        running.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                connections.spawn(connection(client, server, freezing.subscribe(), Arc::clone(&cutting)));
            }
        });
        Network { address, frozen, cuts, _running: running }
    }

    /// From now on nothing gets through and nobody is told.
    pub fn freeze(&self) {
        self.frozen.send_replace(true);
    }

    /// The next answer is lost with its connection.
    pub fn lose_an_answer(&self) {
        self.cuts.store(1, Ordering::SeqCst);
    }
}

async fn connection(client: TcpStream, server: SocketAddr, frozen: watch::Receiver<bool>, cuts: Arc<AtomicU32>) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let mut thaw = frozen.clone();
    let requests = async {
        let mut bytes = [0; 16 * 1024];
        while let Ok(read @ 1..) = from_client.read(&mut bytes).await {
            let _ = thaw.wait_for(|frozen| !frozen).await;
            if to_server.write_all(&bytes[..read]).await.is_err() {
                return;
            }
        }
    };
    let mut thaw = frozen;
    let answers = async {
        let (mut bytes, mut total) = ([0; 16 * 1024], 0);
        while let Ok(read @ 1..) = from_server.read(&mut bytes).await {
            let _ = thaw.wait_for(|frozen| !frozen).await;
            total += read;
            let less = |cuts: u32| cuts.checked_sub(1);
            if total > GREETING && cuts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok() {
                return;
            }
            if to_client.write_all(&bytes[..read]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = requests => {}
        () = answers => {}
    }
}

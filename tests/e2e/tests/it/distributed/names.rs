use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use anyhow::{Result, anyhow};
use tokio::{net::UdpSocket, task::JoinHandle};

/// A DNS server (RFC 1035) that answers the same addresses whatever name is asked for, as an engine does for the replicas of a
/// service.
pub struct Names {
    pub address: SocketAddr,
    known: Arc<Mutex<Vec<Ipv4Addr>>>,
    serving: JoinHandle<()>,
}

impl Drop for Names {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Names {
    pub async fn start(known: &[&str]) -> Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        let address = socket.local_addr()?;
        let addresses = Arc::<Mutex<Vec<Ipv4Addr>>>::default();
        let serving = tokio::spawn(serve(socket, addresses.clone()));
        let names = Names { address, known: addresses, serving };
        names.know(known)?;
        Ok(names)
    }

    /// Answers these addresses from now on.
    pub fn know(&self, addresses: &[&str]) -> Result<()> {
        let addresses = addresses.iter().map(|address| address.parse()).collect::<Result<Vec<Ipv4Addr>, _>>()?;
        *self.known.lock().map_err(|_| anyhow!("the DNS server panicked"))? = addresses;
        Ok(())
    }
}

async fn serve(socket: UdpSocket, known: Arc<Mutex<Vec<Ipv4Addr>>>) {
    let mut question = [0; 512];
    while let Ok((length, asker)) = socket.recv_from(&mut question).await {
        let known = known.lock().expect("nobody panics with it").clone();
        if let Some(answer) = answer(&question[..length], &known) {
            // Who asked may be gone.
            let _ = socket.send_to(&answer, asker).await;
        }
    }
}

/// The answer to a query with one question, which is all that resolvers send.
fn answer(query: &[u8], known: &[Ipv4Addr]) -> Option<Vec<u8>> {
    const HEADER: usize = 12;
    const ANSWER: [u8; 2] = [0x81, 0x80];
    const NO_SUCH_NAME: [u8; 2] = [0x81, 0x83];
    const ADDRESS_AND_INTERNET: [u8; 4] = [0, 1, 0, 1];
    let mut end = HEADER;
    // Labels, each with its length before it; none ends the name.
    while *query.get(end)? != 0 {
        end += usize::from(query[end]) + 1;
    }
    let question = query.get(HEADER..end + 5)?;
    let asked = question.ends_with(&ADDRESS_AND_INTERNET);
    let found = if asked { known } else { &[] };
    let mut answer = query[..2].to_vec();
    answer.extend(if known.is_empty() { NO_SUCH_NAME } else { ANSWER });
    answer.extend([0, 1, 0, u8::try_from(found.len()).ok()?, 0, 0, 0, 0]);
    answer.extend(question);
    for address in found {
        // The name by a pointer to the question, the kind, a second to live, four bytes.
        answer.extend([0xc0, 0x0c]);
        answer.extend(ADDRESS_AND_INTERNET);
        answer.extend([0, 0, 0, 1, 0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}

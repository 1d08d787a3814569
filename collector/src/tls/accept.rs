//! Takes TCP connections and makes TLS of them, each in a task of its own with a time limit: who is slow, or says nothing, holds up nobody.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{debug, warn};

use crate::access::limits::{Limits, Rate};
use crate::identity::trust::{watching, words};

/// A connection whose handshake is done.
pub type Stream = TlsStream<TcpStream>;

/// Longest handshake.
const LIMIT: Duration = Duration::from_secs(10);
/// Handshakes that run at once, some 40 KB each; further connections wait in the kernel.
const AT_ONCE: usize = 1024;
/// Of these from one address: a single one cannot take all places.
const OF_ONE: usize = 64;
/// Finished ones that wait to be served.
const READY: usize = 64;
/// Failures of one address that are said aloud: three at once, then one a minute.
const SAID: Rate = Rate { burst: 3, every: Duration::from_secs(60) };
/// Who is refused has so long to read why.
const LINGER: Duration = Duration::from_secs(1);
/// Rest after the system could not accept.
const REST: Duration = Duration::from_secs(1);

/// Connections whose handshake is done, as they come.
#[derive(Debug)]
pub struct Handshakes {
    ready: mpsc::Receiver<(Stream, SocketAddr)>,
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Handshakes {
    /// Takes connections from now on; `name` is what they are called in the log.
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn start(
        listener: TcpListener,
        settings: watch::Receiver<Arc<ServerConfig>>,
        name: &'static str,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (sender, ready) = mpsc::channel(READY);
        let hall = Hall { settings, sender, crowd: Arc::default(), said: Arc::new(Limits::new(SAID)), name };
        Ok(Self { ready, address, task: tokio::spawn(hall.run(listener)) })
    }

    /// Where they come in.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next one.
    pub async fn next(&mut self) -> (Stream, SocketAddr) {
        match self.ready.recv().await {
            Some(next) => next,
            // The task lives as long as this does.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Handshakes {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Where connections wait for their handshake.
struct Hall {
    settings: watch::Receiver<Arc<ServerConfig>>,
    sender: mpsc::Sender<(Stream, SocketAddr)>,
    crowd: Arc<Crowd>,
    said: Arc<Limits>,
    name: &'static str,
}

impl Hall {
    async fn run(self, listener: TcpListener) {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(e) if is_theirs(&e) => continue,
                Err(e) => {
                    warn!(listener = self.name, error = %e, "Cannot take a connection; trying again.");
                    tokio::time::sleep(REST).await;
                    continue;
                }
            };
            let Some(seat) = Crowd::enter(&self.crowd, peer.ip()) else {
                debug!(listener = self.name, %peer, "Too many handshakes of one address.");
                continue;
            };
            let settings = Arc::clone(&self.settings.borrow());
            let (sender, said, name) = (self.sender.clone(), Arc::clone(&self.said), self.name);
            tokio::spawn(async move {
                match shake(stream, settings).await {
                    // Whoever served has ended otherwise.
                    Ok(stream) => drop(sender.send((stream, peer)).await),
                    Err(why) => tell(&said, name, peer, &why),
                }
                drop((place, seat));
            });
        }
    }
}

async fn shake(stream: TcpStream, settings: Arc<ServerConfig>) -> Result<Stream, String> {
    if let Err(e) = stream.set_nodelay(true) {
        return Err(format!("the connection ended: {e}"));
    }
    let handshake = TlsAcceptor::from(settings).accept(stream).into_fallible();
    let (outcome, shown) = watching(tokio::time::timeout(LIMIT, handshake)).await;
    match outcome {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err((e, stream))) => {
            linger(stream).await;
            match e.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(error) => Err(words(error, shown.as_ref())),
                None => Err(format!("the connection ended during the handshake: {e}")),
            }
        }
        Err(_) => Err(format!("the handshake was not done in {} s", LIMIT.as_secs())),
    }
}

/// Lets a client that is refused read why. It may have sent its first words already, and a socket that is closed with unread bytes takes back what
/// was said last.
async fn linger(mut stream: TcpStream) {
    let read = async {
        stream.shutdown().await?;
        let mut rest = [0; 1024];
        for _ in 0..64 {
            if stream.read(&mut rest).await? == 0 {
                break;
            }
        }
        io::Result::Ok(())
    };
    // Whether it works out or not, it is over.
    let _ = tokio::time::timeout(LINGER, read).await;
}

/// Says why a handshake failed; of who fails over and over only now and then.
fn tell(said: &Limits, name: &str, peer: SocketAddr, why: &str) {
    if said.take(peer.ip(), Instant::now()).is_ok() {
        warn!(listener = name, %peer, "Not let in: {why}.");
    } else {
        debug!(listener = name, %peer, "Not let in: {why}.");
    }
}

/// Whether a connection failed before it was accepted: that is not our trouble.
fn is_theirs(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionRefused | ConnectionAborted | ConnectionReset)
}

/// How many handshakes each address has under way.
#[derive(Debug, Default)]
struct Crowd(Mutex<HashMap<IpAddr, usize>>);

/// One of them.
struct Seat {
    crowd: Arc<Crowd>,
    address: IpAddr,
}

impl Crowd {
    fn enter(crowd: &Arc<Self>, address: IpAddr) -> Option<Seat> {
        let mut all = crowd.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = all.entry(address).or_default();
        if *mine >= OF_ONE {
            return None;
        }
        *mine += 1;
        Some(Seat { crowd: Arc::clone(crowd), address })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut all = self.crowd.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mine) = all.get_mut(&self.address) {
            *mine -= 1;
            if *mine == 0 {
                all.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_takes_all_places() {
        let crowd = Arc::new(Crowd::default());
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let seats: Vec<_> = (0..OF_ONE).map(|_| Crowd::enter(&crowd, one).unwrap()).collect();
        assert!(Crowd::enter(&crowd, one).is_none());
        assert!(Crowd::enter(&crowd, other).is_some());
        drop(seats);
        assert!(crowd.0.lock().unwrap().is_empty());
        assert!(Crowd::enter(&crowd, one).is_some());
    }
}

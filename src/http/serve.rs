//! Connections: how many, how long, and how they end.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_io_timeout::TimeoutStream;
use tower::ServiceExt;
use tower_http::timeout::RequestBodyTimeoutLayer;

use super::tls::Transport;
use super::{ApiError, Listener, Tls, Via};

/// What one way in allows.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at one time; further ones wait in the system's backlog.
    pub connections: usize,
    /// How long a client may take to send a request's head, idle time between requests included; and for the handshake
    /// of TLS.
    pub head: Duration,
    /// How long a client may pause while it sends a body.
    pub body: Duration,
    /// How long a request may take to be answered.
    pub answer: Duration,
    /// How long a client may leave an answer unread.
    pub write: Duration,
    /// Connections of one network at one time; further ones are closed at once. This host's own have no such limit: behind
    /// a reverse proxy they are everybody's.
    pub each: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 512,
            head: Duration::from_secs(15),
            body: Duration::from_secs(10),
            answer: Duration::from_secs(30),
            write: Duration::from_secs(20),
            each: 128,
        }
    }
}

/// Serves `router` until `closing` turns true; then lets running requests end, and returns at once.
pub async fn serve(listener: Listener, router: Router, limits: Limits, mut closing: watch::Receiver<bool>) {
    let router = router
        .layer(RequestBodyTimeoutLayer::new(limits.body))
        .layer(from_fn(move |request, next| in_time(limits.answer, request, next)));
    let places = Arc::new(Semaphore::new(limits.connections));
    let guests = Guests::default();
    loop {
        let place = tokio::select! {
            biased;
            () = closed(&mut closing) => return,
            place = places.clone().acquire_owned() => match place {
                Ok(place) => place,
                Err(_) => return,
            },
        };
        let accepted = tokio::select! {
            biased;
            () = closed(&mut closing) => return,
            accepted = accept(&listener) => accepted,
        };
        match accepted {
            Ok(caller) => {
                let via = caller.via();
                let Some(guest) = guests.admit(via, limits.each) else {
                    tracing::debug!(?via, "too many connections from there");
                    continue;
                };
                let place = (place, guest);
                let connection = connection(caller, router.clone(), limits, closing.clone(), place);
                tokio::spawn(connection);
            }
            Err(error) if is_of_one_connection(&error) => tracing::debug!(%error, "a connection broke off"),
            Err(error) => {
                tracing::warn!(%error, "cannot take a connection; trying again in a moment");
                pause().await;
            }
        }
    }
}

/// How many connections each network has now.
#[derive(Clone, Default)]
struct Guests(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// Counts until it is dropped.
struct Guest {
    guests: Guests,
    network: Option<IpAddr>,
}

impl Guests {
    /// One more connection, unless there are `each` of that network.
    fn admit(&self, via: Via, each: usize) -> Option<Guest> {
        let network = via.network().filter(|network| !network.is_loopback());
        if let Some(network) = network {
            let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let count = counts.entry(network).or_default();
            if *count >= each {
                return None;
            }
            *count += 1;
        }
        Some(Guest { guests: self.clone(), network })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let Some(network) = self.network else { return };
        let mut counts = self.guests.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut count) = counts.entry(network) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// A stream of either kind.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Who connected, before the first byte is read.
enum Caller {
    Tcp(TcpStream, SocketAddr, Tls),
    Unix(UnixStream),
}

impl Caller {
    /// The way in, so far as it is known before a handshake.
    fn via(&self) -> Via {
        match self {
            Caller::Tcp(_, peer, _) => Via::Tcp(*peer),
            Caller::Unix(_) => Via::Socket,
        }
    }

    /// Shakes hands where TLS is spoken.
    async fn greet(self) -> io::Result<(Box<dyn Stream>, Via)> {
        let (stream, via): (Box<dyn Stream>, Via) = match self {
            Caller::Unix(stream) => (Box::new(stream), Via::Socket),
            Caller::Tcp(stream, peer, tls) => match tls.accept(stream).await? {
                Transport::Tls(stream) => (Box::new(stream), Via::Tls(peer)),
                Transport::Plain(stream) => (Box::new(stream), Via::Tcp(peer)),
            },
        };
        Ok((stream, via))
    }
}

async fn accept(listener: &Listener) -> io::Result<Caller> {
    match listener {
        Listener::Tcp(tcp, tls) => {
            let (stream, peer) = tcp.accept().await?;
            stream.set_nodelay(true)?;
            Ok(Caller::Tcp(stream, peer, tls.clone()))
        }
        Listener::Unix(unix, _) => Ok(Caller::Unix(unix.accept().await?.0)),
    }
}

async fn connection(
    caller: Caller,
    router: Router,
    limits: Limits,
    mut closing: watch::Receiver<bool>,
    _place: (OwnedSemaphorePermit, Guest),
) {
    let via = caller.via();
    let greeted = tokio::select! {
        greeted = tokio::time::timeout(limits.head, caller.greet()) => greeted,
        () = closed(&mut closing) => return,
    };
    let (stream, via) = match greeted {
        Ok(Ok(greeted)) => greeted,
        Ok(Err(error)) => return tracing::debug!(%error, ?via, "a connection was not greeted"),
        Err(_) => return tracing::debug!(?via, "a handshake took too long"),
    };
    let answer = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request: Request = request.map(Body::new);
        request.extensions_mut().insert(via);
        router.clone().oneshot(request)
    });
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(limits.write));
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(Box::pin(stream)), answer)
        .with_upgrades();
    tokio::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = closed(&mut closing) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, ?via, "a connection ended early");
    }
}

/// The answer, or that it takes too long.
async fn in_time(limit: Duration, request: Request, next: Next) -> Response {
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let reason = format!("the answer took longer than {} s", limit.as_secs());
            ApiError::Unavailable { reason, retry_after: Duration::from_secs(5) }.into_response()
        }
    }
}

/// Waits for the end; also when whoever could say it is gone.
async fn closed(closing: &mut watch::Receiver<bool>) {
    drop(closing.wait_for(|closing| *closing).await);
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, InvalidInput, NotConnected};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | NotConnected | InvalidInput
    )
}

/// Out of descriptors or memory: only time helps.
#[expect(clippy::disallowed_methods, reason = "there is no event for a file descriptor becoming free")]
async fn pause() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_its_share_of_connections_and_gets_it_back() {
        let guests = Guests::default();
        let via = |peer: &str| Via::Tcp(peer.parse().unwrap());
        let mut held: Vec<_> =
            (1..=3).filter_map(|n| guests.admit(via(&format!("[2001:db8::{n}]:5")), 3)).collect();
        assert_eq!(held.len(), 3);
        assert!(guests.admit(via("[2001:db8::9]:5"), 3).is_none(), "the same network");
        for other in ["[2001:db8:1::1]:5", "192.0.2.1:5"] {
            assert!(guests.admit(via(other), 3).is_some(), "{other}");
        }
        for _ in 0..9 {
            held.extend(guests.admit(via("127.0.0.1:5"), 3));
            held.extend(guests.admit(Via::Socket, 3));
        }
        assert_eq!(held.len(), 21, "this host's own are not counted");
        held.remove(0);
        assert!(guests.admit(via("[2001:db8::9]:5"), 3).is_some());
        held.clear();
        assert!(guests.0.lock().unwrap().is_empty());
    }
}

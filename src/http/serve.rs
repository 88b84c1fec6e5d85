//! Connections: how many, how long, and how they end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower::ServiceExt;
use tower_http::timeout::{RequestBodyTimeoutLayer, TimeoutLayer};

use super::{Listener, Via};

/// What one way in allows.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at one time; further ones wait in the system's backlog.
    pub connections: usize,
    /// How long a client may take to send a request's head, idle time between requests included.
    pub head: Duration,
    /// How long a client may pause while it sends a body.
    pub body: Duration,
    /// How long a request may take to be answered.
    pub answer: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 512,
            head: Duration::from_secs(15),
            body: Duration::from_secs(10),
            answer: Duration::from_secs(30),
        }
    }
}

/// Serves `router` until `closing` turns true; then lets running requests end, and returns at once.
pub async fn serve(listener: Listener, router: Router, limits: Limits, mut closing: watch::Receiver<bool>) {
    let router = router
        .layer(RequestBodyTimeoutLayer::new(limits.body))
        .layer(TimeoutLayer::with_status_code(axum::http::StatusCode::REQUEST_TIMEOUT, limits.answer));
    let places = Arc::new(Semaphore::new(limits.connections));
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
            Ok((stream, via)) => {
                let connection = connection(stream, via, router.clone(), limits, closing.clone(), place);
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

/// A stream of either kind.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn accept(listener: &Listener) -> io::Result<(Box<dyn Stream>, Via)> {
    match listener {
        Listener::Tcp(tcp) => {
            let (stream, peer) = tcp.accept().await?;
            stream.set_nodelay(true)?;
            Ok((Box::new(stream), Via::Tcp(peer)))
        }
        Listener::Unix(unix, _) => {
            let (stream, _) = unix.accept().await?;
            Ok((Box::new(stream), Via::Socket))
        }
    }
}

async fn connection(
    stream: Box<dyn Stream>,
    via: Via,
    router: Router,
    limits: Limits,
    mut closing: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
) {
    let answer = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request: Request = request.map(Body::new);
        request.extensions_mut().insert(via);
        router.clone().oneshot(request)
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), answer);
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

//! The HTTP server: routes, documents, pages.
//!
//! One file per group of routes; `dto` holds what goes over the wire as JSON, `error` how anything is refused, `trust`
//! who may control. Nothing here touches an `Rtc` or a graph: it asks the SFU's handle and the daemon's handle.

mod access;
mod act;
mod addresses;
pub mod assets;
mod broadcast_box;
mod doctor;
mod document;
mod dto;
mod error;
mod events;
mod health;
mod history;
mod listen;
mod login;
mod logins;
mod logs;
mod metrics;
mod openapi;
mod pages;
mod recordings;
mod room;
mod segment;
mod serve;
mod session;
mod status;
mod tls;
mod trust;
mod wanted;
mod whep;
mod whip;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, HeaderValue, header};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::media::StreamName;
use crate::telemetry::LogRing;
use crate::{control, sfu};

pub use access::{Access, Rules, TokenKey, TokenKeyError, Webhook};
pub use doctor::{Doctor, Examine};
pub use document::{Document, Documents};
pub use error::ApiError;
pub use events::{FeedLimits, Feeds};
pub use history::History;
pub use listen::{ListenError, Listener, SocketLock};
pub use recordings::Find;
pub use serve::{Limits, serve};
pub use tls::{Identity, Tls, TlsError};
pub use trust::{ControlToken, Trust, Via};
#[cfg(test)]
pub(crate) use {access::fuzzed as fuzzed_token, wanted::Wanted};

/// The longest body that is read.
pub const BODY_LIMIT: usize = 64 * 1024;

/// What the routes answer from.
#[derive(Clone)]
pub struct Site {
    /// The daemon.
    pub control: control::Handle,
    /// The bundled SFU; none when it is switched off.
    pub sfu: Option<sfu::Handle>,
    /// The port, as it was bound.
    pub listen: SocketAddr,
    /// What is spoken there.
    pub tls: Tls,
    /// Whose player is at `/`.
    pub default_stream: StreamName,
    /// STUN and TURN servers that viewers are told of.
    pub ice_servers: Arc<ArcSwap<Vec<String>>>,
    /// Who may publish and watch.
    pub access: Access,
    /// Who may control.
    pub trust: Trust,
    /// Who follows the state and the log.
    pub feeds: Feeds,
    /// The last minutes in figures.
    pub history: History,
    /// The log's last lines.
    pub logs: LogRing,
    /// Documents that do not change while the daemon runs.
    pub documents: Arc<Documents>,
}

/// Every route, for one way in: the extension [`Via`] of a request says which way it came.
pub fn router(site: Site) -> Router {
    let secure = |name: HeaderName, value: &'static str| {
        SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
    };
    Router::new()
        .merge(pages::routes())
        .merge(whep::routes())
        .merge(whip::routes())
        .merge(status::routes())
        .merge(broadcast_box::routes())
        .merge(health::routes())
        .merge(act::routes())
        .merge(addresses::routes())
        .merge(doctor::routes())
        .merge(events::routes())
        .merge(history::routes())
        .merge(logs::routes())
        .merge(recordings::routes())
        .merge(room::routes())
        .merge(login::routes())
        .merge(openapi::routes())
        .fallback(|| async { ApiError::NotFound("there is nothing at this address".to_owned()) })
        .method_not_allowed_fallback(|| async { ApiError::Method })
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
            axum::response::IntoResponse::into_response(ApiError::Failed(
                "this request met a bug in Capcast".to_owned(),
            ))
        }))
        .layer(secure(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(secure(header::REFERRER_POLICY, "no-referrer"))
        .layer(secure(HeaderName::from_static("cross-origin-opener-policy"), "same-origin"))
        .with_state(site)
}

/// A place among those who follow something for long.
fn place(places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, ApiError> {
    Arc::clone(places).try_acquire_owned().map_err(|_| ApiError::Unavailable {
        reason: "too many clients follow this already".to_owned(),
        retry_after: Duration::from_secs(5),
    })
}

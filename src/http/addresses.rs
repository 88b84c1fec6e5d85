//! `GET /api/addresses`: where others reach this box. A browser on the box itself cannot know.

use std::net::{IpAddr, SocketAddr};

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};

use super::Site;
use super::trust::MayControl;
use crate::sfu;

pub(super) fn routes() -> Router<Site> {
    Router::new().route("/api/addresses", get(tell))
}

/// It names this host's networks: so only for whoever may control the box.
async fn tell(_: MayControl, State(site): State<Site>) -> Response {
    let scheme = if site.tls.is_spoken() { "https" } else { "http" };
    let urls: Vec<String> =
        reachable(site.listen).into_iter().map(|address| format!("{scheme}://{address}")).collect();
    ([(header::CACHE_CONTROL, "no-store")], Json(urls)).into_response()
}

/// Addresses of this host that are not its own loopback, IPv4 first: people can read those.
fn reachable(listen: SocketAddr) -> Vec<SocketAddr> {
    let mut found = sfu::candidates(listen, &[]);
    found.retain(|address| !IpAddr::is_loopback(&address.ip()));
    found.sort_by_key(SocketAddr::is_ipv6);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_nowhere_for_others() {
        assert!(reachable("127.0.0.1:80".parse().unwrap()).is_empty());
        assert_eq!(reachable("192.0.2.1:80".parse().unwrap()), ["192.0.2.1:80".parse().unwrap()]);
        let all = reachable("[::]:80".parse().unwrap());
        assert!(all.iter().all(|address| address.port() == 80 && !address.ip().is_loopback()), "{all:?}");
        assert!(all.is_sorted_by_key(SocketAddr::is_ipv6), "{all:?}");
    }
}

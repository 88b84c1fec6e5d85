//! WHIP and WHEP signalling: POST an offer, DELETE the session.

use std::net::{IpAddr, ToSocketAddrs, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ureq::Agent;
use ureq::http::Uri;

use crate::clock;

const TIMEOUT: Duration = Duration::from_secs(15);

pub struct Answer {
    pub sdp: String,
    /// Absolute URL of the session, if the server gave one.
    pub session: Option<String>,
    pub posted_ns: u64,
    pub answered_ns: u64,
}

fn agent() -> Agent {
    Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false).build().into()
}

/// Sends an offer over a connection of its own, as a new client would.
pub fn post(url: &str, token: Option<&str>, offer: &str) -> Result<Answer> {
    let agent = agent();
    let mut request = agent.post(url).header("Content-Type", "application/sdp");
    if let Some(token) = token {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    let posted_ns = clock::realtime_ns();
    let mut response = request.send(offer)?;
    let sdp = response.body_mut().read_to_string()?;
    let answered_ns = clock::realtime_ns();
    if !response.status().is_success() {
        bail!("{}: {}", response.status(), sdp.trim().chars().take(200).collect::<String>());
    }
    let location = response.headers().get("location").and_then(|v| v.to_str().ok());
    let session = location.map(|l| resolve(url, l)).transpose()?;
    Ok(Answer { sdp, session, posted_ns, answered_ns })
}

pub fn delete(url: &str, token: Option<&str>) -> Result<()> {
    let agent = agent();
    let mut request = agent.delete(url);
    if let Some(token) = token {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    let status = request.call()?.status();
    if !status.is_success() {
        bail!("{status}");
    }
    Ok(())
}

fn resolve(base: &str, location: &str) -> Result<String> {
    if location.starts_with("http://") || location.starts_with("https://") {
        return Ok(location.to_owned());
    }
    let (scheme, rest) = base.split_once("://").context("URL without a scheme")?;
    let rest = rest.split(['?', '#']).next().unwrap_or(rest);
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if location.starts_with('/') {
        return Ok(format!("{scheme}://{host}{location}"));
    }
    let dir = &path[..path.rfind('/').map_or(0, |i| i + 1)];
    let slash = if dir.is_empty() { "/" } else { dir };
    Ok(format!("{scheme}://{host}{slash}{location}"))
}

/// The local address from which packets to the URL's host would leave.
pub fn local_ip(url: &str) -> Result<IpAddr> {
    let uri: Uri = url.parse().with_context(|| format!("bad URL {url}"))?;
    let host = uri.host().with_context(|| format!("no host in {url}"))?;
    let port = uri.port_u16().unwrap_or(80);
    let host = host.trim_matches(['[', ']']);
    let to = (host, port).to_socket_addrs()?.next().with_context(|| format!("{host} has no address"))?;
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let probe = UdpSocket::bind(any)?;
    probe.connect(to)?;
    Ok(probe.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations() {
        let base = "http://h:1/whep/live?x=/y";
        assert_eq!(resolve(base, "http://o/s").unwrap(), "http://o/s");
        assert_eq!(resolve(base, "/session/1").unwrap(), "http://h:1/session/1");
        assert_eq!(resolve(base, "1").unwrap(), "http://h:1/whep/1");
        assert_eq!(resolve("http://h", "1").unwrap(), "http://h/1");
        assert_eq!(local_ip("http://127.0.0.1:7777/x").unwrap(), IpAddr::from([127, 0, 0, 1]));
    }
}

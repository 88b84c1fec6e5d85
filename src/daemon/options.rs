//! How the daemon is asked to run.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::files::Sources;
use crate::config::parse::Override;

/// What `capcast run` was told.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `--config`
    pub config: Option<PathBuf>,
    /// `--demo`: test picture and tone, nothing read from disk, nothing published outside.
    pub demo: bool,
    /// `--listen`
    pub listen: Option<SocketAddr>,
    /// `--set`, in order.
    pub set: Vec<Override>,
}

/// Where a demo listens.
const DEMO_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8899);

impl Options {
    /// The files to read.
    pub(super) fn sources(&self) -> Sources {
        if self.demo { Sources::shipped() } else { Sources::of_system(self.config.as_deref()) }
    }

    /// What to lay over them, later over earlier: the demo's own, `--listen`, then `--set`.
    pub(super) fn overrides(&self) -> Vec<Override> {
        let mut all = Vec::new();
        if self.demo {
            let listen = self.listen.unwrap_or(DEMO_LISTEN);
            // Media goes where the page goes. On loopback any port will do, so that demos don't fight over one.
            let media = SocketAddr::new(listen.ip(), if listen.ip().is_loopback() { 0 } else { 8900 });
            for value in [
                "capture.video=test".to_owned(),
                "capture.audio=test".to_owned(),
                format!("http.listen={listen}"),
                format!("sfu.media={media}"),
            ] {
                all.push(Override::new(&value));
            }
        } else if let Some(listen) = self.listen {
            all.push(Override::new(&format!("http.listen={listen}")));
        }
        all.extend(self.set.iter().cloned());
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{AudioInput, VideoInput};

    #[test]
    fn a_demo_stays_on_this_host_unless_told_otherwise() {
        let load = |options: &Options| {
            let (loaded, problems) = options.sources().load(&options.overrides());
            loaded.unwrap_or_else(|| panic!("{}", problems.render(crate::config::Look::PLAIN))).config
        };
        let demo = Options { demo: true, ..Options::default() };
        let config = load(&demo);
        assert_eq!((config.capture.video, config.capture.audio), (VideoInput::Test, AudioInput::Test));
        assert_eq!(config.http.listen.to_string(), "127.0.0.1:8899");
        assert_eq!(config.sfu.media.to_string(), "127.0.0.1:0");
        assert!(config.outputs.is_empty());

        let shown = Options { listen: Some("192.0.2.1:80".parse().unwrap()), ..demo.clone() };
        assert_eq!(load(&shown).sfu.media.to_string(), "192.0.2.1:8900");
        let set = Options { set: vec![Override::new("capture.audio=none")], ..demo };
        assert_eq!(load(&set).capture.audio, AudioInput::None, "`--set` comes last");
    }
}

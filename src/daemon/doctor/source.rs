//! A source that comes over the network: can it be reached, or waited for, and can its secret be read?

use std::io::ErrorKind;
use std::net::{ToSocketAddrs, UdpSocket};

use super::{Check, Level, Running, readable};
use crate::config::{BoxConfig, SecretSource, SrtConfig, VideoInput};
use crate::media::{SrtMode, SrtPeer};
use crate::output::whip::Wires;

const GROUP: &str = "Capture";

pub(super) fn look(config: &BoxConfig, running: Option<&Running>, checks: &mut Vec<Check>) {
    match &config.capture.video {
        VideoInput::Srt(SrtConfig { peer, passphrase }) => {
            checks.push(match peer.mode {
                SrtMode::Listener => port(peer, running.is_some()),
                SrtMode::Caller => host(peer),
            });
            checks.extend(secret("passphrase", "passphrase_file", passphrase.as_ref()));
        }
        VideoInput::Url { url, token } => {
            checks.extend(server(url));
            checks.extend(secret("token", "capture.token_file", token.as_ref()));
        }
        _ => {}
    }
}

/// Whether a listener's port is free. A daemon that runs has it, and that is right.
fn port(peer: &SrtPeer, running: bool) -> Check {
    let check = |level, words: &str| Check::new(GROUP, &peer.to_string(), level, words);
    match UdpSocket::bind((peer.host.as_str(), peer.port)) {
        Ok(_) => check(Level::Ok, "a sender can be waited for there"),
        Err(error) if error.kind() == ErrorKind::AddrInUse && running => {
            check(Level::Ok, "is in use, by the running Capcast it seems")
        }
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            check(Level::Fail, "the port is in use by another program")
                .cure("`sudo ss --udp --listening --processes --numeric` names it; or take another port")
        }
        Err(error) => check(Level::Fail, &format!("no sender can be waited for there: {error}"))
            .cure("write an address of this box, or none: `srt://:9000?mode=listener`"),
    }
}

/// Whether it is known who is to be called. SRT itself is not tried: a sender may take nobody but the daemon.
fn host(peer: &SrtPeer) -> Check {
    let check = |level, words: String| Check::new(GROUP, &peer.to_string(), level, words);
    let found = (peer.host.as_str(), peer.port).to_socket_addrs().map(|mut found| found.next());
    let reason = match found {
        Ok(Some(found)) if found.ip().to_string() == peer.host => {
            return check(Level::Ok, "is called when it runs".to_owned());
        }
        Ok(Some(found)) => return check(Level::Ok, format!("is {}, and is called when it runs", found.ip())),
        Ok(None) => "it has no address".to_owned(),
        Err(error) => error.to_string(),
    };
    check(Level::Fail, format!("`{}` is not known: {reason}", peer.host))
        .cure("is the name right in `capture.video`, and does this box have a name server?")
}

fn server(text: &str) -> Option<Check> {
    // Without what may be a secret.
    let url = url::Url::parse(text).ok()?;
    let host = url.host_str().unwrap_or_default().to_owned();
    let check = |level, words: String| Check::new(GROUP, &host, level, words);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let wires = Wires::new().ok()?;
    Some(match runtime.block_on(wires.knock(url)) {
        Ok(status) if status.is_server_error() => {
            check(Level::Warn, format!("its server answers with {status}"))
                .cure("the server has trouble of its own; its log says which")
        }
        Ok(_) => check(Level::Ok, "its server answers".to_owned()),
        Err(reason) => check(Level::Fail, format!("its server cannot be reached: {reason}"))
            .cure("is the address in `capture.video` right, the server up, and no firewall between?"),
    })
}

fn secret(name: &str, key: &'static str, source: Option<&SecretSource>) -> Option<Check> {
    let reason = readable(key, source?).err()?;
    let check = Check::new(GROUP, &format!("source {name}"), Level::Fail, reason);
    Some(check.cure(format!("put the {name} alone into that file, readable for the daemon's user")))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;

    fn looked_at(video: VideoInput, running: bool) -> Vec<(String, Level, String)> {
        let mut config = BoxConfig::default();
        config.capture.video = video;
        let (running, mut checks) = (running.then(Running::default), Vec::new());
        look(&config, running.as_ref(), &mut checks);
        checks.into_iter().map(|check| (check.name, check.level, check.words)).collect()
    }

    fn srt(mode: SrtMode, host: &str, port: u16, passphrase: Option<SecretSource>) -> VideoInput {
        let (host, latency) = (host.to_owned(), Duration::from_millis(120));
        VideoInput::Srt(SrtConfig { peer: SrtPeer { mode, host, port, latency, streamid: None }, passphrase })
    }

    fn missing() -> Option<SecretSource> {
        Some(SecretSource::File("/nonexistent/key".into()))
    }

    #[test]
    fn an_srt_source_is_looked_at_from_this_side() {
        let held = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = held.local_addr().unwrap().port();
        let level = |video, running| looked_at(video, running).first().map(|(_, level, _)| *level);
        let listens = |host: &str| srt(SrtMode::Listener, host, port, None);
        assert_eq!(level(listens("127.0.0.1"), false), Some(Level::Fail), "another program has the port");
        assert_eq!(level(listens("127.0.0.1"), true), Some(Level::Ok), "the daemon has it");
        assert_eq!(level(listens("192.0.2.1"), false), Some(Level::Fail), "no address of this host");
        drop(held);
        assert_eq!(level(listens("127.0.0.1"), false), Some(Level::Ok));
        assert_eq!(level(srt(SrtMode::Caller, "127.0.0.1", port, None), false), Some(Level::Ok));
        // Longer than a name may be.
        let nowhere = srt(SrtMode::Caller, &"nowhere".repeat(50), port, None);
        assert_eq!(level(nowhere, false), Some(Level::Fail));
        let checks = looked_at(srt(SrtMode::Caller, "127.0.0.1", port, missing()), false);
        assert_eq!((checks[1].0.as_str(), checks[1].1), ("source passphrase", Level::Fail), "{checks:?}");
        assert!(checks[1].2.contains("/nonexistent/key"), "{checks:?}");
    }

    #[test]
    fn a_source_over_http_is_asked_and_its_url_is_kept_secret() {
        let open = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = open.local_addr().unwrap();
        let url =
            || VideoInput::Url { url: format!("http://{address}/x.m3u8?session=private"), token: missing() };
        let answers = std::thread::spawn(move || {
            let (mut stream, _) = open.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]).unwrap();
            stream.write_all(b"HTTP/1.1 405 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
        });
        let checks = looked_at(url(), false);
        answers.join().unwrap();
        assert_eq!(checks[0].1, Level::Ok, "{checks:?}");
        assert_eq!((checks[1].0.as_str(), checks[1].1), ("source token", Level::Fail), "{checks:?}");
        let silent = looked_at(url(), false);
        assert_eq!(silent[0].1, Level::Fail, "{silent:?}");
        assert!(!format!("{checks:?}{silent:?}").contains("private"), "{silent:?}");
    }
}

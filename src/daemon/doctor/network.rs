//! Ports, socket buffers, what viewers are offered, and whether outputs' servers answer.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;

use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};

use super::{Check, Level, Running, readable};
use crate::config::{BoxConfig, OutputConfig, OutputKind};
use crate::media::ByteSize;
use crate::output::whip::Wires;
use crate::sfu;

const GROUP: &str = "Network";
const OUTPUTS: &str = "Outputs";

/// Candidates that are named; of the others the number.
const NAMED: usize = 4;

pub(super) fn look(config: &BoxConfig, running: Option<&Running>, checks: &mut Vec<Check>) {
    let http = config.http.listen;
    checks.push(port(
        "HTTP port",
        &format!("TCP {http}"),
        TcpListener::bind(http).map(drop),
        running,
        "--listen",
    ));
    if config.sfu.enabled {
        let media = config.sfu.media;
        let bound =
            UdpSocket::bind(media).or_else(|error| match media.is_ipv6() && media.ip().is_unspecified() {
                // As the SFU does on a host without IPv6.
                true => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, media.port())).map_err(|_| error),
                false => Err(error),
            });
        checks.push(port("media port", &format!("UDP {media}"), bound.map(drop), running, "sfu.media"));
        let listens = TcpListener::bind(media).or_else(|error| match media.is_ipv6() {
            true if media.ip().is_unspecified() => TcpListener::bind((Ipv4Addr::UNSPECIFIED, media.port())),
            _ => Err(error),
        });
        checks.push(over_tcp(port(
            "media over TCP",
            &format!("TCP {media}"),
            listens.map(drop),
            running,
            "sfu.media",
        )));
        checks.push(buffers());
        checks.push(candidates(config));
    } else {
        checks.push(Check::new(GROUP, "SFU", Level::Skip, "switched off: nobody can watch at this box"));
    }
}

fn port(name: &str, what: &str, bound: std::io::Result<()>, running: Option<&Running>, key: &str) -> Check {
    let check = |level, words: String| Check::new(GROUP, name, level, format!("{what} {words}"));
    match bound {
        Ok(()) => check(Level::Ok, "is free".to_owned()),
        Err(error) if error.kind() == ErrorKind::AddrInUse && running.is_some() => {
            check(Level::Ok, "is in use, by the running Capcast it seems".to_owned())
        }
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            check(Level::Fail, "is in use by another program".to_owned())
                .cure(format!("`sudo ss --listening --processes --numeric` names it; or change `{key}`"))
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            check(Level::Fail, "needs a right that this user lacks".to_owned()).cure(
                "take a port above 1023, or give the service `AmbientCapabilities=CAP_NET_BIND_SERVICE`",
            )
        }
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => {
            check(Level::Fail, "is no address of this host".to_owned())
                .cure(format!("`ip address` lists them; change `{key}`"))
        }
        Err(error) => check(Level::Fail, format!("cannot be used: {error}")),
    }
}

/// Without it the SFU goes on: only those whom UDP does not reach are shut out.
fn over_tcp(mut check: Check) -> Check {
    if check.level == Level::Fail {
        check.level = Level::Warn;
        check.words.push_str("; viewers behind a firewall that stops UDP cannot watch");
    }
    check
}

/// What the kernel lets the media socket have.
fn buffers() -> Check {
    let read = |name: &str| -> Option<usize> {
        std::fs::read_to_string(format!("/proc/sys/net/core/{name}")).ok()?.trim().parse().ok()
    };
    let name = "UDP buffers";
    let (Some(receive), Some(send)) = (read("rmem_max"), read("wmem_max")) else {
        return Check::new(GROUP, name, Level::Skip, "the kernel does not say what is allowed");
    };
    let wanted = sfu::SOCKET_BUFFER;
    let words = format!("{} KiB in, {} KiB out allowed", receive / 1024, send / 1024);
    if receive >= wanted && send >= wanted {
        return Check::new(GROUP, name, Level::Ok, words);
    }
    let words = format!("{words}; keyframes to many viewers want {} KiB", wanted / 1024);
    Check::new(GROUP, name, Level::Warn, words).cure(format!(
        "`sudo sysctl -w net.core.rmem_max={wanted} net.core.wmem_max={wanted}`; both lines in \
         /etc/sysctl.d/60-capcast.conf make it last"
    ))
}

fn candidates(config: &BoxConfig) -> Check {
    let name = "candidates";
    let offered = sfu::candidates(config.sfu.media, &config.sfu.public_addresses);
    let shown: Vec<String> = offered.iter().take(NAMED).map(SocketAddr::to_string).collect();
    let more = offered.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let words = format!("viewers are offered {}{more}, each over UDP and TCP", shown.join(", "));
    if offered.iter().all(|address| address.ip().is_loopback()) {
        return Check::new(GROUP, name, Level::Warn, format!("{words}: nobody else can watch"))
            .cure("connect this host to a network, or let `sfu.media` listen on more than loopback");
    }
    if config.sfu.public_addresses.is_empty() && offered.iter().all(|address| is_private(address.ip())) {
        return Check::new(GROUP, name, Level::Ok, format!("{words}: reached from this network")).cure(
            format!(
                "for viewers outside: forward UDP and TCP {} to this host, and set `sfu.public_addresses`",
                config.sfu.media.port()
            ),
        );
    }
    Check::new(GROUP, name, Level::Ok, words)
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [first, second, ..] = v4.octets();
            // 100.64.0.0/10: the provider's own network (RFC 6598).
            v4.is_private() || v4.is_loopback() || (first == 100 && (64..128).contains(&second))
        }
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_loopback(),
    }
}

/// Each configured output: can its key be read, does its server answer?
pub(super) fn outputs(config: &BoxConfig, checks: &mut Vec<Check>) {
    if config.outputs.is_empty() {
        checks.push(Check::new(OUTPUTS, "outputs", Level::Skip, "none configured"));
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let (Ok(runtime), Ok(wires)) = (runtime, Wires::new()) else {
        checks.push(Check::new(
            OUTPUTS,
            "outputs",
            Level::Fail,
            "no connection can be made: TLS does not start",
        ));
        return;
    };
    runtime.block_on(async {
        // All at once: one server that is silent must not make the others wait.
        let asked: Vec<_> = config.outputs.iter().map(|output| (output, ask(&wires, output))).collect();
        let mut asked =
            asked.into_iter().map(|(output, asking)| (output, tokio::spawn(asking))).collect::<Vec<_>>();
        for (output, asking) in &mut asked {
            let check = asking.await.unwrap_or_else(|_| {
                Check::new(OUTPUTS, &output.name, Level::Fail, "asking met a bug in Capcast")
            });
            checks.push(check);
            let files =
                [("key", "output.token_file", &output.token), ("URL", "output.url_file", &output.url_file)];
            for (what, key, source) in files {
                if let Some(source) = source
                    && let Err(reason) = readable(key, source)
                {
                    checks.push(
                        Check::new(OUTPUTS, &format!("{} {what}", output.name), Level::Fail, reason).cure(
                            format!("put the {what} alone into that file, readable for the daemon's user"),
                        ),
                    );
                }
            }
        }
    });
}

/// Less free than this, and a recording soon ends; less than the second, and it is not for long.
const MUST_BE_FREE: u64 = 64 << 20;
const SHOULD_BE_FREE: u64 = 1 << 30;

/// Whether a recording could be written, and how much room is left for it.
fn room(name: &str, path: &str) -> Check {
    let folder = Path::new(path).parent().unwrap_or(Path::new("/"));
    // The daemon makes folders that are missing.
    let nearest = folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    let shown = nearest.display();
    if access(nearest, AccessFlags::W_OK | AccessFlags::X_OK).is_err() {
        return Check::new(OUTPUTS, name, Level::Fail, format!("`{shown}` may not be written"))
            .cure("give the folder to the daemon's user: `chown capcast`");
    }
    match statvfs(nearest) {
        Ok(about) => {
            let bytes = about.blocks_available() * about.fragment_size();
            let words = format!("{} are free in `{shown}`", ByteSize::from_bytes(bytes));
            let check = |level| Check::new(OUTPUTS, name, level, words.clone());
            match bytes {
                0..MUST_BE_FREE => {
                    check(Level::Fail).cure("make room there, or name another folder in `path`")
                }
                MUST_BE_FREE..SHOULD_BE_FREE => {
                    check(Level::Warn).cure("minutes of a stream; make room, or set `max_size` or `keep`")
                }
                _ => check(Level::Ok),
            }
        }
        Err(error) => {
            Check::new(OUTPUTS, name, Level::Fail, format!("`{shown}` cannot be looked at: {error}"))
                .cure("is the disk mounted?")
        }
    }
}

fn ask(wires: &Wires, output: &OutputConfig) -> impl Future<Output = Check> + Send + 'static {
    let (wires, name, kind) = (wires.clone(), output.name.clone(), output.kind);
    let place = output.recording.as_ref().map(|recording| room(&output.name, &recording.path));
    let url = output.url.as_ref().and_then(|url| url::Url::parse(url).ok());
    async move {
        if let Some(place) = place {
            return place;
        }
        let check = |level, words: String| Check::new(OUTPUTS, &name, level, words);
        let url = match (kind, url) {
            (OutputKind::Whip | OutputKind::Trickle, Some(url)) => url,
            (OutputKind::Whip, None) => {
                return check(Level::Skip, "its URL is a secret, so its server is not asked".to_owned());
            }
            _ => return check(Level::Skip, "this kind of output is not looked at".to_owned()),
        };
        let host = url.host_str().unwrap_or_default().to_owned();
        match wires.knock(url).await {
            Ok(status) if status.is_server_error() => {
                check(Level::Warn, format!("{host} answers with {status}"))
                    .cure("the server has trouble of its own; its log says which")
            }
            Ok(status) if status == http::StatusCode::NOT_FOUND && kind == OutputKind::Whip => {
                check(Level::Warn, format!("{host} answers, and knows no such path"))
                    .cure("is the path in `url` right? Broadcast Box has `/api/whip`")
            }
            Ok(_) => check(Level::Ok, format!("{host} answers")),
            Err(reason) => check(Level::Fail, format!("{host} cannot be reached: {reason}"))
                .cure("is the address in `url` right, the server up, and no firewall between?"),
        }
    }
}

//! Configured outputs, started.

use std::sync::Arc;

use super::{RunError, secret};
use crate::config::{OutputConfig, OutputKind};
use crate::engine::Engine;
use crate::engine::container::Room;
use crate::engine::webrtc::{Lane, Relay};
use crate::media::StreamName;
use crate::output::whip::{Relays, Settings, Wires};
use crate::output::{Output, record, whip};
use crate::plan::QueueClass;

/// What outputs of every kind need.
pub(super) struct Place<'a> {
    pub(super) engine: &'a Engine,
    /// How much may wait for a disk.
    pub(super) disk: QueueClass,
    pub(super) stream: &'a StreamName,
}

/// Starts every output that there is in this version. What is wrong with one is its own state, and stops nothing else.
pub(super) fn outputs(
    place: &Place<'_>,
    configured: &[OutputConfig],
    lanes: &Arc<[Lane]>,
    seed: u64,
) -> Result<Vec<Output>, RunError> {
    if configured.is_empty() {
        return Ok(Vec::new());
    }
    let wires = Wires::new()
        .map_err(|reason| RunError::System { what: "TLS", source: std::io::Error::other(reason) })?;
    let mut running = Vec::new();
    for (number, output) in configured.iter().enumerate() {
        let seed = seed.wrapping_add(number as u64);
        if let Some(recording) = &output.recording {
            let settings = record::Settings {
                name: output.name.clone(),
                path: recording.path.clone(),
                stream: place.stream.to_string(),
                segment: recording.segment,
                keep: recording.keep,
                max_size: recording.max_size,
                room: Room { time: place.disk.time, bytes: place.disk.bytes },
                lanes: Arc::clone(lanes),
                seed,
            };
            running.push(record::start(place.engine, settings));
            continue;
        }
        if output.kind != OutputKind::Whip {
            tracing::warn!(output = %output.name, "this version has no outputs of this kind yet");
            continue;
        }
        let (url, url_file) = (output.url.clone().unwrap_or_default(), output.url_file.clone());
        let token = output.token.clone();
        let settings = Settings {
            name: output.name.clone(),
            url: Box::new(move || match &url_file {
                Some(source) => secret::read("output.url_file", source).map_err(|error| error.to_string()),
                None => Ok(url.clone()),
            }),
            key: Box::new(move || match &token {
                Some(source) => {
                    secret::read("output.token_file", source).map(Some).map_err(|error| error.to_string())
                }
                None => Ok(None),
            }),
            relays: relays(output),
            lanes: Arc::clone(lanes),
            adaptive: output.adaptive,
            seed,
        };
        running.push(whip::start(place.engine, &wires, settings));
    }
    Ok(running)
}

/// The output's own STUN and TURN servers, their secret read when they are used.
fn relays(output: &OutputConfig) -> Relays {
    let (uris, source) = (output.ice_servers.clone(), output.ice_credential.clone());
    Box::new(move || {
        let text = match &source {
            Some(source) if !uris.is_empty() => {
                secret::read("output.ice_credential_file", source).map_err(|error| error.to_string())?
            }
            _ => String::new(),
        };
        let mut lines = text.lines().map(|line| line.trim().to_owned());
        let (username, credential) = (lines.next(), lines.next());
        if username.is_some() && credential.is_none() {
            return Err("`ice_credential_file` holds no second line with a password".to_owned());
        }
        let relay = |uri: &String| Relay {
            uri: uri.clone(),
            username: username.clone(),
            credential: credential.clone(),
        };
        Ok(uris.iter().map(relay).collect())
    })
}

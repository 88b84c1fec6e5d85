//! Configured outputs, started.

use std::sync::Arc;

use super::{RunError, secret};
use crate::config::{OutputConfig, OutputKind, SecretSource, SrtConfig};
use crate::engine::Engine;
use crate::engine::container::Room;
use crate::engine::webrtc::{Lane, Relay};
use crate::media::StreamName;
use crate::output::whip::{Relays, Wires};
use crate::output::{Output, record, srt, trickle, whip};
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
    let started = configured.iter().enumerate().filter_map(|(number, output)| {
        let seed = seed.wrapping_add(number as u64);
        // The configuration has an address or place for each, by its kind.
        Some(match output.kind {
            OutputKind::Whip => whip::start(place.engine, &wires, publishing(output, lanes, seed)),
            OutputKind::Trickle => {
                let settings = trickle::Settings {
                    name: output.name.clone(),
                    url: output.url.clone()?,
                    key: key(output),
                    lanes: Arc::clone(lanes),
                    sound: output.sound,
                    seed,
                };
                trickle::start(place.engine, &wires, settings)
            }
            OutputKind::Srt => srt::start(place.engine, sending(output, lanes, seed)?),
            OutputKind::Record => record::start(place.engine, recording(place, output, lanes, seed)?),
        })
    });
    Ok(started.collect())
}

fn publishing(output: &OutputConfig, lanes: &Arc<[Lane]>, seed: u64) -> whip::Settings {
    let (url, url_file) = (output.url.clone().unwrap_or_default(), output.url_file.clone());
    whip::Settings {
        name: output.name.clone(),
        url: Box::new(move || match &url_file {
            Some(source) => secret::read("output.url_file", source).map_err(|error| error.to_string()),
            None => Ok(url.clone()),
        }),
        key: key(output),
        relays: relays(output),
        lanes: Arc::clone(lanes),
        adaptive: output.adaptive,
        seed,
    }
}

fn sending(output: &OutputConfig, lanes: &Arc<[Lane]>, seed: u64) -> Option<srt::Settings> {
    let SrtConfig { peer, passphrase } = output.srt.clone()?;
    Some(srt::Settings {
        name: output.name.clone(),
        peer,
        passphrase: Box::new(move || passphrase.as_ref().map(read_passphrase).transpose()),
        lanes: Arc::clone(lanes),
        sound: output.sound,
        adaptive: output.adaptive,
        seed,
    })
}

fn recording(
    place: &Place<'_>,
    output: &OutputConfig,
    lanes: &Arc<[Lane]>,
    seed: u64,
) -> Option<record::Settings> {
    let recording = output.recording.as_ref()?;
    Some(record::Settings {
        name: output.name.clone(),
        path: recording.path.clone(),
        stream: place.stream.to_string(),
        segment: recording.segment,
        keep: recording.keep,
        max_size: recording.max_size,
        room: Room { time: place.disk.time, bytes: place.disk.bytes },
        lanes: Arc::clone(lanes),
        seed,
    })
}

fn key(output: &OutputConfig) -> whip::Key {
    let token = output.token.clone();
    Box::new(move || {
        let read = token.as_ref().map(|source| secret::read("output.token_file", source));
        read.transpose().map_err(|error| error.to_string())
    })
}

/// Of a length that SRT takes (`SRTO_PASSPHRASE`).
fn read_passphrase(source: &SecretSource) -> Result<String, String> {
    let passphrase = secret::read("output.url", source).map_err(|error| error.to_string())?;
    match passphrase.len() {
        10..=79 => Ok(passphrase),
        _ => Err("the passphrase in `passphrase_file` has to have 10 to 79 characters".to_owned()),
    }
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

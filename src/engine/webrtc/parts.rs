//! The elements of a session: `webrtcbin` as it is to be, and the payloaders.

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;

use crate::plan::{Node, Role, Value};

use super::{Lane, PublishError, Relay, caps};

/// `webrtcbin` that bundles, checks consent, and knows the relays.
pub(super) fn webrtcbin(relays: &[Relay]) -> Result<gst::Element, PublishError> {
    // webrtcbin exists without libnice's elements, and then fails late.
    if gst::ElementFactory::find("nicesink").is_none() {
        return Err(PublishError::Missing { element: "nicesink", package: "gstreamer1.0-nice" });
    }
    let webrtcbin = element("webrtcbin", "gstreamer1.0-plugins-bad")?;
    webrtcbin.set_property_from_str("bundle-policy", "max-bundle");
    let agent = webrtcbin.property::<gst::Object>("ice-agent");
    if agent.find_property("agent").is_some() {
        // Consent checks; without them libnice only sends indications every 25 s, and servers give it up.
        let nice = agent.property::<glib::Object>("agent");
        if nice.find_property("keepalive-conncheck").is_some() {
            nice.set_property("keepalive-conncheck", true);
        }
        if nice.find_property("upnp").is_some() {
            // Nothing is asked that the configuration does not name, routers included.
            nice.set_property("upnp", false);
        }
    }
    for uri in relays.iter().filter_map(relay_uri) {
        if uri.starts_with("stun") {
            webrtcbin.set_property("stun-server", uri);
        } else if !webrtcbin.emit_by_name::<bool>("add-turn-server", &[&uri]) {
            tracing::debug!("a TURN server that was announced is not usable");
        }
    }
    Ok(webrtcbin)
}

/// `stun:host:port` as libnice's `stun://host:port`; user and password go into TURN's. Transport parameters stay.
fn relay_uri(relay: &Relay) -> Option<String> {
    let (scheme, place) = relay.uri.split_once(':')?;
    let scheme = scheme.to_ascii_lowercase();
    let escape = |text: &str| {
        let escaped: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
        escaped.replace('+', "%20")
    };
    match scheme.as_str() {
        "stun" => Some(format!("stun://{}", place.split('?').next()?)),
        "turn" | "turns" => {
            let (user, password) = (relay.username.as_deref()?, relay.credential.as_deref()?);
            Some(format!("{scheme}://{}:{}@{place}", escape(user), escape(password)))
        }
        _ => None,
    }
}

pub(in crate::engine) fn element(
    factory: &'static str,
    package: &'static str,
) -> Result<gst::Element, PublishError> {
    if gst::ElementFactory::find(factory).is_none() {
        return Err(PublishError::Missing { element: factory, package });
    }
    Ok(gst::ElementFactory::make(factory).build()?)
}

/// The plan's payloader with payload type, SSRC and name for this session.
pub(super) fn payloader(lane: &Lane, ssrc: u32) -> Node {
    let mut node = Node { id: format!("payloader-{}", lane.codec), ..lane.payloader.clone() };
    node.role = Role::Payloader;
    node.properties.retain(|(name, _)| !matches!(name.as_str(), "pt" | "ssrc" | "seqnum-offset"));
    node.properties.push(("pt".to_owned(), Value::Integer(caps::payload_type(lane.codec).into())));
    node.properties.push(("ssrc".to_owned(), Value::Integer(ssrc.into())));
    node
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relays_are_written_as_libnice_reads_them() {
        let relay = |uri: &str, user: Option<&str>| {
            relay_uri(&Relay {
                uri: uri.to_owned(),
                username: user.map(str::to_owned),
                credential: user.map(|_| "p:/w".to_owned()),
            })
        };
        assert_eq!(relay("stun:s.example.org:3478", None).as_deref(), Some("stun://s.example.org:3478"));
        assert_eq!(
            relay("TURN:t.example.org?transport=tcp", Some("1:me")).as_deref(),
            Some("turn://1%3Ame:p%3A%2Fw@t.example.org?transport=tcp")
        );
        assert_eq!(relay("turn:t.example.org", None), None);
        assert_eq!(relay("http://x", None), None);
    }
}

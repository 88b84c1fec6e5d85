//! What libsrt says, in words that help.

use crate::engine::container::ContainerError;
use crate::media::{SrtMode, SrtPeer};

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) words: String,
    /// The other side said no, so trying again soon is of no use.
    pub(super) refused: bool,
}

/// What it means to a connection that stood, or never did; `secret` says whether there is a passphrase on this side.
pub(super) fn trouble(error: &ContainerError, peer: &SrtPeer, secret: bool, stood: bool) -> Trouble {
    let said = error.to_string();
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    let refused = |words: String| Trouble { words, refused: true };
    if has(&["Incorrect passphrase", "Password required", "authenticate"]) {
        return refused(match secret {
            true => format!("{peer} has another passphrase, or none"),
            false => format!("{peer} asks for a passphrase: write `passphrase_file=…` into the `url`"),
        });
    }
    if has(&["rejected", "rejection", "ejected connection"]) {
        return refused(match &peer.streamid {
            Some(streamid) => {
                format!("{peer} refused the connection; does it know the `streamid` `{streamid}`?")
            }
            None => format!("{peer} refused the connection; it may want a `streamid`"),
        });
    }
    let words = if stood && has(&["Unknown or erroneous", "imeout", "timed out"]) {
        format!("{peer} has fallen silent")
    } else if has(&["imeout", "timed out"]) {
        format!("nobody answers at {peer}")
    } else if has(&["Cannot bind", "already in use"]) && peer.mode == SrtMode::Listener {
        format!("cannot listen at {peer}: something else does, or the address is not this box's")
    } else if has(&["broken or closed", "does not exist", "was broken"]) {
        format!("{peer} ended the connection")
    } else {
        said
    };
    Trouble { words, refused: false }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_refusal_says_whose_it_is() {
        let peer = SrtPeer {
            mode: SrtMode::Caller,
            host: "::1".to_owned(),
            port: 9000,
            latency: Duration::ZERO,
            streamid: Some("live".to_owned()),
        };
        let about =
            |said: &str, secret| trouble(&ContainerError::Failed(said.to_owned()), &peer, secret, !secret);
        let wrong =
            about("Failed to write to SRT socket: Failed to authenticate: Incorrect passphrase", true);
        assert_eq!(
            (wrong.refused, wrong.words.as_str()),
            (true, "srt://[::1]:9000 has another passphrase, or none")
        );
        assert!(
            about("Failed to authenticate: Password required or unexpected", false)
                .words
                .contains("passphrase_file")
        );
        assert!(about("Error on SRT socket: Peer rejected connection", true).words.contains("`live`"));
        let nobody = about("Error on SRT socket: Connection timeout", true);
        assert_eq!((nobody.refused, nobody.words.as_str()), (false, "nobody answers at srt://[::1]:9000"));
        assert_eq!(
            about("Error on SRT socket: Unknown or erroneous", false).words,
            "srt://[::1]:9000 has fallen silent"
        );
        assert_eq!(about("Socket is broken or closed", true).words, "srt://[::1]:9000 ended the connection");
        assert_eq!(about("something new", true).words, "something new");
    }
}

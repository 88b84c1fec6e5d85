//! What can be said of the picture's source, in one word and in words.

use std::fmt;

/// How a capture device or a stream over the network is, as far as it can be told from the box.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SourceState {
    /// Pictures arrive.
    Live,
    /// Nothing is plugged in, or it is off.
    NoSignal,
    /// Something arrives, but it is not stable.
    NoLock,
    /// More arrives than the card takes.
    OutOfRange,
    /// Another size or rate arrives; the capture is being set to it.
    FormatChanging,
    /// Another program uses the device.
    Busy,
    /// The device is not there.
    Gone,
    /// The link to the card is too slow for what is captured.
    Usb2Link,
    /// The device is there and should bring pictures, but does not.
    #[default]
    Stalled,
    /// This user may not open the device.
    Denied,
    /// Whoever sends over the network does not answer, or lets nobody in.
    Unreachable,
    /// What is sent over the network cannot be used.
    Unusable,
}

impl SourceState {
    /// All of them.
    pub const ALL: [SourceState; 12] = [
        SourceState::Live,
        SourceState::NoSignal,
        SourceState::NoLock,
        SourceState::OutOfRange,
        SourceState::FormatChanging,
        SourceState::Busy,
        SourceState::Gone,
        SourceState::Usb2Link,
        SourceState::Stalled,
        SourceState::Denied,
        SourceState::Unreachable,
        SourceState::Unusable,
    ];

    /// The word used in JSON and metrics: `live`, `no_signal`, …
    pub const fn as_str(self) -> &'static str {
        match self {
            SourceState::Live => "live",
            SourceState::NoSignal => "no_signal",
            SourceState::NoLock => "no_lock",
            SourceState::OutOfRange => "out_of_range",
            SourceState::FormatChanging => "format_changing",
            SourceState::Busy => "busy",
            SourceState::Gone => "gone",
            SourceState::Usb2Link => "usb2_link",
            SourceState::Stalled => "stalled",
            SourceState::Denied => "denied",
            SourceState::Unreachable => "unreachable",
            SourceState::Unusable => "unusable",
        }
    }

    /// What it means and what to do, for people; empty when all is well.
    pub const fn words(self) -> &'static str {
        match self {
            SourceState::Live => "",
            SourceState::NoSignal => "no signal: no cable, or the source is off",
            SourceState::NoLock => "the signal is not stable: try another cable",
            SourceState::OutOfRange => {
                "the signal is more than the card can take: lower the source's resolution"
            }
            SourceState::FormatChanging => "the signal changes",
            SourceState::Busy => "another program captures from the card: end it",
            SourceState::Gone => "the card is not plugged in",
            SourceState::Usb2Link => {
                "the card is on a USB 2 link, which is too slow: try a blue port and the cable that came with it"
            }
            SourceState::Stalled => "no picture comes from the card",
            SourceState::Denied => {
                "this user may not open the card: add it to the group `video`, and log in again"
            }
            SourceState::Unreachable => "the sender does not answer",
            SourceState::Unusable => "what is sent cannot be used",
        }
    }

    /// What a passer-by reads on the slate: short, and no cure.
    pub const fn title(self) -> &'static str {
        match self {
            SourceState::Live => "",
            SourceState::NoSignal => "No signal",
            SourceState::NoLock => "Signal not stable",
            SourceState::OutOfRange => "Signal out of range",
            SourceState::FormatChanging => "Signal changing",
            SourceState::Busy => "Capture card in use",
            SourceState::Gone => "Capture card unplugged",
            SourceState::Usb2Link => "Capture card on a slow link",
            SourceState::Stalled => "No picture",
            SourceState::Denied => "Capture card not allowed",
            SourceState::Unreachable => "Source not reachable",
            SourceState::Unusable => "Source not usable",
        }
    }
}

impl fmt::Display for SourceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A source's state with its reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceHealth {
    /// In one word.
    pub state: SourceState,
    /// In words, with what to do; empty when live.
    pub reason: String,
}

impl SourceHealth {
    /// A state with its own words.
    pub fn of(state: SourceState) -> SourceHealth {
        SourceHealth { state, reason: state.words().to_owned() }
    }

    /// A state with what is known beyond its own words.
    pub fn with(state: SourceState, details: &str) -> SourceHealth {
        let reason = match (state.words(), details) {
            (words, "") => words.to_owned(),
            ("", details) => details.to_owned(),
            (words, details) => format!("{words} ({details})"),
        };
        SourceHealth { state, reason }
    }

    /// Pictures arrive.
    pub fn is_live(&self) -> bool {
        self.state == SourceState::Live
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_a_word_of_its_own_and_every_trouble_says_what_it_is() {
        let mut words: Vec<&str> = SourceState::ALL.iter().map(|state| state.as_str()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), SourceState::ALL.len());
        for state in SourceState::ALL {
            assert_eq!(state.words().is_empty(), state == SourceState::Live, "{state}");
            assert_eq!(state.title().is_empty(), state == SourceState::Live, "{state}");
        }
    }

    #[test]
    fn details_stand_behind_the_words() {
        assert_eq!(SourceHealth::with(SourceState::Live, "").reason, "");
        assert_eq!(
            SourceHealth::with(SourceState::Gone, "/dev/video0").reason,
            "the card is not plugged in (/dev/video0)"
        );
    }
}

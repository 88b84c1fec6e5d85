//! Messages on a stream of bytes: each behind its length, two bytes, the higher one first (RFC 4571 §2). What has come of
//! them, and what waits for the other side to take it, whatever carries the bytes.

use std::collections::VecDeque;

use super::demux::MAX_DATAGRAM;

/// What waits at most; about a keyframe. More is dropped: late media is no media.
pub(super) const MAX_WAITING: usize = 256 << 10;

/// Bytes of a length.
pub(super) const LENGTH: usize = 2;

/// What a stream begins with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Head<'a> {
    /// A message, and what comes behind it.
    Whole(&'a [u8], &'a [u8]),
    /// Not all of a message.
    Part,
    /// No message that anybody of ours sends: the other side speaks something else.
    TooLong,
}

/// Looks at what was received and not read yet.
pub(super) fn head(bytes: &[u8]) -> Head<'_> {
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH>() else {
        return Head::Part;
    };
    let length = usize::from(u16::from_be_bytes(*length));
    if length > MAX_DATAGRAM {
        return Head::TooLong;
    }
    match rest.split_at_checked(length) {
        Some((message, behind)) => Head::Whole(message, behind),
        None => Head::Part,
    }
}

/// Reads every whole message at the front of `received` and says how many bytes those were; `None` where the other side
/// speaks something else. Ends early where `take` says so.
pub(super) fn messages(received: &[u8], mut take: impl FnMut(&[u8]) -> bool) -> Option<usize> {
    let mut rest = received;
    loop {
        match head(rest) {
            Head::Whole(message, behind) => {
                rest = behind;
                // Empty ones keep a connection open, and say nothing.
                if !message.is_empty() && !take(message) {
                    return Some(received.len() - rest.len());
                }
            }
            Head::Part => return Some(received.len() - rest.len()),
            Head::TooLong => return None,
        }
    }
}

/// What goes before a message of this length; none where no length says it.
pub(super) fn length(message: &[u8]) -> Option<[u8; LENGTH]> {
    u16::try_from(message.len()).ok().map(u16::to_be_bytes)
}

/// What was sent and the other side has not taken yet.
#[derive(Debug, Default)]
pub(super) struct Waiting(VecDeque<u8>);

impl Waiting {
    /// Bytes of it.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of it, one after the other.
    pub(super) fn bytes(&self) -> [&[u8]; 2] {
        let (front, back) = self.0.as_slices();
        [front, back]
    }

    /// So many bytes of it were taken.
    pub(super) fn taken(&mut self, count: usize) {
        self.0.drain(..count);
    }

    /// Of messages, each behind its length, the first `taken` bytes were taken, none of them unless nothing waited before;
    /// the rest waits. How many found no room and are dropped, as a whole.
    pub(super) fn add<'a>(&mut self, messages: impl Iterator<Item = [&'a [u8]; 2]>, mut taken: usize) -> u64 {
        let mut dropped = 0;
        for [before, message] in messages {
            let length = before.len() + message.len();
            if taken >= length {
                taken -= length;
            } else if taken > 0 || self.0.len() + length <= MAX_WAITING {
                // What was begun has to be ended, or nothing behind it can be understood.
                self.0.extend(&before[taken.min(before.len())..]);
                self.0.extend(&message[taken.saturating_sub(before.len())..]);
                taken = 0;
            } else {
                dropped += 1;
            }
        }
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_message_longer_than_any_of_ours_is_not_waited_for() {
        assert_eq!(head(b"GET / HTTP/1.1"), Head::TooLong);
        assert_eq!(head(&[7]), Head::Part);
        assert_eq!(head(&[0, 0, 9]), Head::Whole(&[], &[9]));
        assert_eq!(length(&[0; 70_000]), None);
    }

    proptest! {
        #[test]
        fn messages_come_out_as_they_went_in_wherever_the_stream_is_cut(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..MAX_DATAGRAM), 0..10),
            cuts in prop::collection::vec(1usize..3_000, 1..40),
        ) {
            let stream: Vec<u8> = messages.iter().flat_map(|m| [&length(m).unwrap()[..], m].concat()).collect();
            let (mut held, mut got, mut at) = (Vec::new(), Vec::new(), 0);
            for cut in cuts.iter().cycle() {
                let next = (at + cut).min(stream.len());
                held.extend_from_slice(&stream[at..next]);
                at = next;
                loop {
                    let left = match head(&held) {
                        Head::Whole(message, behind) => {
                            got.push(message.to_vec());
                            behind.to_vec()
                        }
                        Head::Part => break,
                        Head::TooLong => panic!("{held:?}"),
                    };
                    held = left;
                }
                if at == stream.len() {
                    break;
                }
            }
            prop_assert_eq!(got, messages);
            prop_assert!(held.is_empty());
        }
    }
}

//! Messages on a stream of bytes: each behind its length, two bytes, the higher one first (RFC 4571 §2).

use crate::sfu::demux::MAX_DATAGRAM;

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

/// What goes before a message of this length; none where no length says it.
pub(super) fn length(message: &[u8]) -> Option<[u8; LENGTH]> {
    u16::try_from(message.len()).ok().map(u16::to_be_bytes)
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

//! Sequence numbers as one viewer sees them.

/// First number of every viewer: below 2^16, so that both sides begin SRTP with rollover counter 0 (RFC 3711 §3.3.1).
const FIRST: u64 = 1;

/// Maps a lane's numbers to a viewer's: without a hole where the viewer was made to wait, with the hole where the source
/// lost a packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Munger {
    /// The lane's number at which the mapping begins.
    from: u64,
    /// The viewer's number for `from`.
    to: u64,
    /// The viewer's next unused number.
    next: u64,
}

impl Munger {
    /// Nothing sent yet.
    pub(super) const fn new() -> Munger {
        Munger { from: 0, to: FIRST, next: FIRST }
    }

    /// From here on the viewer sees the lane's packets from `sequence`, numbered on from its last one.
    pub(super) fn resume(&mut self, sequence: u64) {
        self.from = sequence;
        self.to = self.next;
    }

    /// The viewer's number for one of the lane's; `None` for a packet from before the viewer saw anything.
    pub(super) fn map(&mut self, sequence: u64) -> Option<u64> {
        let mapped = self.to + sequence.checked_sub(self.from)?;
        self.next = self.next.max(mapped + 1);
        Some(mapped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn waiting_leaves_no_hole_but_a_lost_packet_does() {
        let mut munger = Munger::new();
        munger.resume(5_000_000_000);
        let first: Vec<_> = [0, 1, 3, 2].map(|n| munger.map(5_000_000_000 + n)).into();
        assert_eq!(first, [Some(1), Some(2), Some(4), Some(3)]);
        munger.resume(6_000_000_000);
        assert_eq!(munger.map(6_000_000_000), Some(5));
        assert_eq!(munger.map(5_999_999_999), None, "from before the resumption");
    }

    proptest! {
        #[test]
        fn numbers_are_never_used_twice(steps in prop::collection::vec((0u64..1_000, any::<bool>()), 1..200)) {
            let (mut munger, mut sequence, mut used) = (Munger::new(), 0, std::collections::BTreeSet::new());
            munger.resume(0);
            for (gap, waited) in steps {
                sequence += 1 + gap;
                if waited {
                    munger.resume(sequence);
                }
                let mapped = munger.map(sequence).unwrap();
                prop_assert!(used.last().is_none_or(|last| mapped > *last));
                prop_assert!(used.insert(mapped));
            }
            prop_assert!(*used.first().unwrap() < 1 << 16);
        }
    }
}

//! What a viewer may see of a lane: nothing before a keyframe.

/// Opens at the first keyframe; what came before cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// Waits for a keyframe.
    Closed,
    /// Everything passes.
    Open,
}

/// What the gate says of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Not for this viewer.
    Refused,
    /// The first one after a wait: numbering resumes here.
    Resumes,
    /// One more.
    Passes,
}

impl Gate {
    /// Asks for a frame; `starts` says that decoding can begin with it.
    pub(super) fn admit(&mut self, starts: bool) -> Admission {
        match self {
            Gate::Open => Admission::Passes,
            Gate::Closed if starts => {
                *self = Gate::Open;
                Admission::Resumes
            }
            Gate::Closed => Admission::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_passes_before_a_keyframe_and_everything_after() {
        let mut gate = Gate::Closed;
        let seen: Vec<_> = [false, false, true, false, true].map(|keyframe| gate.admit(keyframe)).into();
        use Admission::{Passes, Refused, Resumes};
        assert_eq!(seen, [Refused, Refused, Resumes, Passes, Passes]);
    }
}

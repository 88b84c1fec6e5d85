//! The handle by which commands go in and state comes out.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::State;
use crate::media::{Bitrate, Fault};

/// Commands that wait; one more is refused as [`CommandError::Busy`].
const WAITING: usize = 16;

/// How long a command may take before whoever asked is told that the daemon does not answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The same where graphs are built, proven, and put back if need be; below what an HTTP request may take.
const LONG_PATIENCE: Duration = Duration::from_secs(29);

/// What the running daemon can be told to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Nothing; answered as soon as the daemon's loop comes by, which proves that it lives.
    Ping,
    /// Make the next picture a keyframe.
    Keyframe,
    /// Change the live video bitrate, until the profile is loaded again.
    SetBitrate(Bitrate),
    /// Go on with this profile; answered when it is on air, or cannot be.
    Switch(String),
    /// Go on air; answered when that is so.
    Start,
    /// Go off air and give the card back; answered when that is done.
    Stop,
    /// Build every graph anew; answered when they are on air again.
    Restart,
    /// Read the configuration again and rebuild what differs.
    Reload,
    /// Let the output of this name publish.
    OutputStart(String),
    /// Let the output of this name publish no more.
    OutputStop(String),
}

impl Command {
    /// Whether it is answered only once graphs run or are gone.
    pub const fn is_long(&self) -> bool {
        matches!(
            self,
            Command::Switch(_)
                | Command::SetBitrate(_)
                | Command::Start
                | Command::Stop
                | Command::Restart
                | Command::Reload
        )
    }
}

/// A command carried out: what was done, in one sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done(pub String);

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// It cannot be done as asked; the words say why, the hint what would work.
    Refused {
        /// Why not.
        reason: String,
        /// What would be accepted instead.
        hint: Option<String>,
    },
    /// It names something that does not exist.
    Unknown(String),
    /// It cannot be done now: nothing is on air.
    NotOnAir(String),
    /// It cannot be done now: another change is under way.
    Conflict(String),
    /// It was tried and failed.
    Failed {
        /// The class of the failure.
        fault: Fault,
        /// What failed.
        reason: String,
    },
    /// Too many commands wait already.
    Busy,
    /// The daemon is shutting down, or does not answer.
    Gone,
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CommandError::Refused { reason, .. }
            | CommandError::NotOnAir(reason)
            | CommandError::Conflict(reason)
            | CommandError::Unknown(reason) => f.write_str(reason),
            CommandError::Failed { fault, reason } => write!(f, "{fault} failure: {reason}"),
            CommandError::Busy => f.write_str("too many commands are waiting"),
            CommandError::Gone => f.write_str("the daemon does not answer, or is shutting down"),
        }
    }
}

impl std::error::Error for CommandError {}

/// A command on its way to the daemon, with where its answer goes.
#[derive(Debug)]
pub struct Order {
    /// What to do.
    pub command: Command,
    /// Where the answer goes; whoever asked may have left.
    pub reply: oneshot::Sender<Result<Done, CommandError>>,
}

/// Sends commands to the daemon and reads its state. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    orders: mpsc::Sender<Order>,
    state: watch::Receiver<Arc<State>>,
}

/// The daemon's end of every [`Handle`].
#[derive(Debug)]
pub struct Inbox {
    /// Commands to carry out, in order of arrival.
    pub orders: mpsc::Receiver<Order>,
    /// The state that every handle sees.
    pub state: watch::Sender<Arc<State>>,
}

/// Makes a handle and the daemon's end of it; `state` is what is seen until the first snapshot.
pub fn channel(state: State) -> (Handle, Inbox) {
    let (orders, order_inbox) = mpsc::channel(WAITING);
    let (state_inbox, state) = watch::channel(Arc::new(state));
    (Handle { orders, state }, Inbox { orders: order_inbox, state: state_inbox })
}

impl Handle {
    /// The newest snapshot of the daemon's state.
    pub fn state(&self) -> Arc<State> {
        self.state.borrow().clone()
    }

    /// A receiver that wakes at every snapshot.
    pub fn states(&self) -> watch::Receiver<Arc<State>> {
        self.state.clone()
    }

    /// Has `command` carried out and waits for its end: ten seconds at most, 29 where graphs are to be built.
    pub async fn command(&self, command: Command) -> Result<Done, CommandError> {
        let patience = if command.is_long() { LONG_PATIENCE } else { PATIENCE };
        let (reply, answer) = oneshot::channel();
        self.orders.try_send(Order { command, reply }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => CommandError::Busy,
            mpsc::error::TrySendError::Closed(_) => CommandError::Gone,
        })?;
        match tokio::time::timeout(patience, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) | Err(_) => Err(CommandError::Gone),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty() -> State {
        State::starting("0", "p".to_owned())
    }

    #[tokio::test]
    async fn an_answer_comes_back_to_whoever_asked() {
        let (handle, mut inbox) = channel(empty());
        let answering = tokio::spawn(async move {
            let order = inbox.orders.recv().await.expect("an order");
            assert_eq!(order.command, Command::SetBitrate(Bitrate::from_bits(1)));
            order.reply.send(Ok(Done("so be it".to_owned()))).expect("someone waits");
        });
        let answer = handle.command(Command::SetBitrate(Bitrate::from_bits(1))).await;
        assert_eq!(answer, Ok(Done("so be it".to_owned())));
        answering.await.expect("no panic");
    }

    #[tokio::test]
    async fn a_daemon_that_is_flooded_or_gone_is_told_apart() {
        let (handle, inbox) = channel(empty());
        let mut waiting = Vec::new();
        for _ in 0..WAITING {
            let handle = handle.clone();
            waiting.push(tokio::spawn(async move { handle.command(Command::Ping).await }));
        }
        while inbox.orders.len() < WAITING {
            tokio::task::yield_now().await;
        }
        assert_eq!(handle.command(Command::Ping).await, Err(CommandError::Busy));
        drop(inbox);
        for left in waiting {
            assert_eq!(left.await.expect("no panic"), Err(CommandError::Gone));
        }
        assert_eq!(handle.command(Command::Ping).await, Err(CommandError::Gone));
    }
}

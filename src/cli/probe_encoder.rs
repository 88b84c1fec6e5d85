//! `capcast probe-encoder`: the child in which an encoder is tried; not for people.

use anyhow::anyhow;

use super::Outcome;
use crate::daemon::files::Sources;
use crate::probe;

pub(crate) fn run() -> anyhow::Result<Outcome> {
    let (loaded, _) = Sources::shipped().load(&[]);
    let queues = loaded.ok_or_else(|| anyhow!("what is built in cannot be read"))?.queues;
    probe::answer(&queues, std::io::stdin(), std::io::stdout()).map_err(|reason| anyhow!("{reason}"))?;
    Ok(Outcome::Done)
}

//! What the daemon tells systemd (sd_notify(3)): that it is ready, how it fares in words, and, while all of it answers, that
//! it lives. Without systemd there is nobody to tell.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;

use super::watchdog::{Signs, Verdict, Watchdog};
use crate::control::Summary;
use crate::lifecycle::Phase;
use crate::sfu;

/// How often the words are told while nothing changes but figures.
const TELL: Duration = Duration::from_secs(2);

/// The unit's line to systemd.
pub(super) struct Systemd {
    watchdog: Option<Watchdog>,
    /// Was anything told, when, and of what summary?
    told: Option<(Duration, Summary)>,
    figures: Option<Arc<sfu::Stats>>,
    /// How often the SFU's figures were other ones.
    told_by_sfu: u64,
    /// Who does not answer.
    starving: Option<&'static str>,
}

impl Systemd {
    /// When systemd started this process and wants to hear of it (`NOTIFY_SOCKET`, `WATCHDOG_USEC`).
    pub(super) fn from_environment(now: Duration) -> Option<Systemd> {
        std::env::var_os("NOTIFY_SOCKET")?;
        let watchdog = sd_notify::watchdog_enabled().map(|limit| Watchdog::new(limit, now));
        Some(Systemd { watchdog, told: None, figures: None, told_by_sfu: 0, starving: None })
    }

    /// To be called at each turn of the daemon's loop. The first one says that it is ready: everything listens, and graphs
    /// are on their way.
    pub(super) fn turn(
        &mut self,
        now: Duration,
        (summary, words): (Summary, &str),
        sfu: Option<&sfu::Handle>,
        (capture, captured): (Phase, (u64, u64)),
    ) {
        let is_first = self.told.is_none();
        if self.told.is_none_or(|(at, of)| of != summary || now >= at + TELL) {
            self.told = Some((now, summary));
            let words = words.replace('\n', " ");
            let status = NotifyState::Status(&words);
            match is_first {
                true => tell(&[NotifyState::Ready, status]),
                false => tell(&[status]),
            }
        }
        let Some(watchdog) = &mut self.watchdog else { return };
        let sfu = sfu.map(|sfu| {
            let newest = sfu.stats();
            if self.figures.as_ref().is_none_or(|figures| !Arc::ptr_eq(figures, &newest)) {
                self.told_by_sfu += 1;
                self.figures = Some(newest);
            }
            self.told_by_sfu
        });
        match watchdog.look(now, Signs { sfu, capture, captured }) {
            Verdict::Feed => {
                self.starving = None;
                tell(&[NotifyState::Watchdog]);
            }
            Verdict::Later => {}
            Verdict::Starve(who) => {
                if self.starving.replace(who).is_none() {
                    tracing::error!("{who} does not answer; systemd starts Capcast anew unless it does soon");
                }
            }
        }
    }

    /// The daemon goes down as it should.
    pub(super) fn stopping(&self, why: &str) {
        let words = format!("shutting down: {why}");
        tell(&[NotifyState::Stopping, NotifyState::Status(&words)]);
    }
}

/// Systemd that does not listen is no reason to stop.
fn tell(words: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(words) {
        tracing::debug!(%error, "systemd was not told");
    }
}

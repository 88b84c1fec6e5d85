//! One source: finds out how it comes, and leads it.

use std::time::Duration;

use http::StatusCode;
use url::Url;

use super::core::{ANSWER, Core, retry_after, trouble_of};
use super::hls::{Hls, Load};
use super::playlist::MAGIC;
use super::trickle::Trickle;
use super::{Action, FetchId, Head, Input, Limits, Media, Numbers, Protocol, Trouble};

/// Reads a relayed stream. See the [module](super).
#[derive(Debug)]
pub struct Relay {
    core: Core,
    kind: Kind,
}

/// What is known of the source.
#[derive(Debug)]
enum Kind {
    /// Not yet what it is.
    Knocking {
        load: Option<Load>,
        retry: Option<Duration>,
        trouble: Option<Trouble>,
    },
    Hls(Box<Hls>),
    Trickle(Trickle),
}

impl Relay {
    /// A source at an http or https address; the seed makes the jitter of waits. Begins at once.
    #[must_use]
    pub fn new(now: Duration, source: Url, limits: Limits, seed: u64) -> Relay {
        let path = source.path().to_ascii_lowercase();
        let kind = if path.ends_with(".m3u8") || path.ends_with(".m3u") {
            Kind::Hls(Box::new(Hls::new(now, source.clone(), None)))
        } else {
            Kind::Knocking { load: None, retry: Some(now), trouble: None }
        };
        let mut relay = Relay { core: Core::new(source, limits, seed), kind };
        relay.wake(now);
        relay
    }

    /// Tells what happened.
    pub fn take(&mut self, now: Duration, input: Input) {
        match input {
            Input::Head(id, head) => self.head(now, id, &head),
            Input::Bytes(id, bytes) if self.core.conveyor.lane(id).is_some() => {
                match self.core.conveyor.push(now, id, bytes) {
                    Ok(()) => self.flows(now),
                    Err(trouble) => self.failed(now, id, trouble),
                }
            }
            Input::Bytes(id, bytes) => self.text(now, id, &bytes),
            Input::End(id) if self.core.conveyor.lane(id).is_some() => match &mut self.kind {
                Kind::Hls(hls) => hls.segment_ended(&mut self.core, now, id),
                Kind::Trickle(trickle) => trickle.ended(&mut self.core, now, id),
                Kind::Knocking { .. } => {}
            },
            Input::End(id) => self.text_ended(now, id),
            Input::Failed(id, failure) => self.failed(now, id, trouble_of(failure)),
        }
        self.fill(now);
    }

    /// To be called at [`deadline`](Self::deadline), and harmless at any other time.
    pub fn wake(&mut self, now: Duration) {
        while let Some((id, trouble)) = self.core.conveyor.overdue(now) {
            self.failed(now, id, trouble);
        }
        match &mut self.kind {
            Kind::Hls(hls) => hls.wake(&mut self.core, now),
            Kind::Trickle(trickle) => trickle.wake(now),
            Kind::Knocking { load, retry, .. } => {
                if let Some(late) = load.take_if(|load| load.due() <= now) {
                    self.core.cancel(late.id);
                    self.knock_failed(now, Trouble::Silent(ANSWER), None);
                } else if retry.take_if(|due| *due <= now).is_some() {
                    let url = self.core.source.clone();
                    let id = self.core.fetch(&url, None);
                    *load = Some(Load { id, url, redirects: 0, text: Vec::new(), began: now });
                }
            }
        }
        self.fill(now);
    }

    /// The next thing to do, until there is none.
    pub fn action(&mut self) -> Option<Action> {
        self.core.actions.pop_front()
    }

    /// When to [`wake`](Self::wake) it at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        let own = match &self.kind {
            Kind::Hls(hls) => hls.deadline(),
            Kind::Trickle(trickle) => trickle.deadline(),
            Kind::Knocking { load, retry, .. } => {
                load.as_ref().map(Load::due).into_iter().chain(*retry).min()
            }
        };
        own.into_iter().chain(self.core.conveyor.deadline()).min()
    }

    /// May more of this body be read? Asked again whenever media was taken.
    #[must_use]
    pub fn may_read(&self, id: FetchId) -> bool {
        self.core.conveyor.may_read(id)
    }

    /// Does media wait to be taken?
    #[must_use]
    pub fn has_media(&self) -> bool {
        self.core.conveyor.has_media()
    }

    /// Takes the next piece of the stream.
    pub fn media(&mut self, now: Duration) -> Option<Media> {
        let media = self.core.conveyor.pop(now);
        if media.is_some() {
            self.fill(now);
        }
        media
    }

    /// What is wrong, if anything is.
    #[must_use]
    pub fn trouble(&self, now: Duration) -> Option<Trouble> {
        match &self.kind {
            Kind::Hls(hls) => hls.trouble(now, &self.core),
            Kind::Trickle(trickle) => trickle.trouble(now, &self.core),
            Kind::Knocking { trouble, .. } => trouble.clone(),
        }
    }

    /// What went wrong since this was asked last, one at a time: for the log.
    pub fn note(&mut self) -> Option<Trouble> {
        self.core.notes.pop_front()
    }

    /// How it comes, once that is known.
    #[must_use]
    pub const fn protocol(&self) -> Option<Protocol> {
        match &self.kind {
            Kind::Hls(_) => Some(Protocol::Hls),
            Kind::Trickle(trickle) if trickle.has_given() => Some(Protocol::Trickle),
            Kind::Trickle(_) | Kind::Knocking { .. } => None,
        }
    }

    /// Is the sound in a playlist of its own, which is not read?
    #[must_use]
    pub fn lacks_sound(&self) -> bool {
        matches!(&self.kind, Kind::Hls(hls) if hls.sound_apart)
    }

    /// What came so far.
    #[must_use]
    pub fn numbers(&self, now: Duration) -> Numbers {
        let conveyor = &self.core.conveyor;
        Numbers {
            segments: conveyor.segments,
            skipped: self.core.skipped,
            discontinuities: conveyor.discontinuities,
            failures: self.core.failures,
            bytes: conveyor.bytes,
            queued_segments: conveyor.len(),
            queued_bytes: conveyor.waiting(),
            segments_per_second: conveyor.rate(now),
            wait: conveyor.wait(),
        }
    }

    fn fill(&mut self, now: Duration) {
        match &mut self.kind {
            Kind::Hls(hls) => hls.fill(&mut self.core, now),
            Kind::Trickle(trickle) => trickle.fill(&mut self.core, now),
            Kind::Knocking { .. } => {}
        }
    }

    fn head(&mut self, now: Duration, id: FetchId, head: &Head) {
        let verdict = match &mut self.kind {
            Kind::Hls(hls) => {
                hls.head(&mut self.core, now, id, head);
                Ok(())
            }
            Kind::Trickle(trickle) => trickle.head(&mut self.core, now, id, head),
            Kind::Knocking { load: Some(load), .. } if load.id == id => {
                match self.core.redirect(&load.url, head, load.redirects) {
                    Err(trouble) => Err(trouble),
                    Ok(Some(to)) => {
                        self.core.cancel(id);
                        (load.id, load.redirects) = (self.core.fetch(&to, None), load.redirects + 1);
                        load.url = to;
                        Ok(())
                    }
                    Ok(None) if head.status == StatusCode::OK => Ok(()),
                    // A channel has nothing at its own address.
                    Ok(None) if matches!(head.status.as_u16(), 400 | 404 | 405 | 410 | 501) => {
                        return self.try_trickle(now);
                    }
                    Ok(None) => {
                        let trouble = Trouble::Status(head.status.as_u16());
                        return self.knock_failed(now, trouble, retry_after(head));
                    }
                }
            }
            Kind::Knocking { .. } => Ok(()),
        };
        if let Err(trouble) = verdict {
            self.knock_failed(now, trouble, None);
        }
    }

    /// More of something that is no segment.
    fn text(&mut self, now: Duration, id: FetchId, bytes: &[u8]) {
        match &mut self.kind {
            Kind::Hls(hls) if hls.is_loading(id) => hls.text(&mut self.core, now, bytes),
            Kind::Knocking { load: Some(known), .. } if known.id == id => {
                known.text.extend_from_slice(bytes);
                if known.text.len() >= MAGIC.len() {
                    self.knock_answered(now);
                }
            }
            _ => {}
        }
    }

    fn text_ended(&mut self, now: Duration, id: FetchId) {
        match &mut self.kind {
            Kind::Hls(hls) if hls.is_loading(id) => hls.loaded(&mut self.core, now),
            Kind::Knocking { load: Some(known), .. } if known.id == id => self.try_trickle(now),
            _ => {}
        }
    }

    fn failed(&mut self, now: Duration, id: FetchId, trouble: Trouble) {
        match &mut self.kind {
            Kind::Hls(hls) if hls.is_loading(id) => hls.list_failed(&mut self.core, now, trouble, None),
            Kind::Hls(hls) => hls.segment_failed(&mut self.core, now, id, trouble),
            Kind::Trickle(trickle) => trickle.failed(&mut self.core, now, id, trouble),
            Kind::Knocking { load: Some(load), .. } if load.id == id => self.knock_failed(now, trouble, None),
            Kind::Knocking { .. } => {}
        }
    }

    fn flows(&mut self, now: Duration) {
        if let Kind::Trickle(trickle) = &mut self.kind {
            trickle.received(&mut self.core, now);
        }
    }

    /// The beginning of what is at the source's address came.
    fn knock_answered(&mut self, now: Duration) {
        let Kind::Knocking { load, .. } = &mut self.kind else { return };
        let Some(load) = load.take() else { return };
        if load.text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&load.text).starts_with(MAGIC) {
            self.kind = Kind::Hls(Box::new(Hls::new(now, self.core.source.clone(), Some(load))));
        } else {
            self.core.cancel(load.id);
            self.kind = Kind::Trickle(Trickle::new(now, self.core.source.clone()));
        }
    }

    fn try_trickle(&mut self, now: Duration) {
        if let Kind::Knocking { load, .. } = &mut self.kind
            && let Some(load) = load.take()
        {
            self.core.cancel(load.id);
        }
        self.kind = Kind::Trickle(Trickle::new(now, self.core.source.clone()));
    }

    /// From the beginning, later.
    fn knock_failed(&mut self, now: Duration, trouble: Trouble, asked: Option<Duration>) {
        for id in self.core.conveyor.clear() {
            self.core.cancel(id);
        }
        if let Kind::Knocking { load: Some(load), .. } = &self.kind {
            let id = load.id;
            self.core.cancel(id);
        }
        let retry = Some(now + self.core.wait_after(&trouble, asked));
        self.kind = Kind::Knocking { load: None, retry, trouble: Some(trouble) };
    }
}

//! Reading the configuration again: what differs is rebuilt, and what is broken changes nothing.

use std::sync::Arc;

use super::appliance::Appliance;
use super::change::{Prepared, Reply, What, refused};
use super::doors::Keys;
use super::files::Loaded;
use super::outputs::{Place, outputs};
use super::target::{self, Wanted};
use crate::config::{BoxConfig, Look, ProfileChoice};
use crate::control::CommandError;

/// How long a server has to confirm the end of an output that is configured no more.
const FAREWELL: std::time::Duration = std::time::Duration::from_secs(5);

impl Appliance {
    /// Reads every file again and heads for what they say. The profile that was switched to stays as long as the
    /// configured one does.
    pub(super) fn reload(&mut self, reply: Reply) {
        let (options, held) = (self.options.clone(), self.held());
        let (active, configured) = (self.profile.name.clone(), self.config.profile.clone());
        let (capture, waited) = (self.config.capture.clone(), target::device(&self.capture.plan().upstream));
        self.prepare(What::Reload, reply, move || {
            let (loaded, problems) = options.sources().load(&options.overrides());
            let Some(loaded) = loaded else {
                let found = problems.render(Look::PLAIN);
                return Err(CommandError::Refused {
                    reason: format!("the configuration has errors, and nothing was changed\n{found}"),
                    hint: Some("`capcast check FILE` reports the same without a reload".to_owned()),
                });
            };
            Keys::read(&loaded.config).map_err(refused)?;
            let wanted = match loaded.config.profile == configured {
                true => Wanted::named(&active),
                false => Wanted::Chosen(loaded.config.profile.clone()),
            };
            let waited = waited.filter(|_| loaded.config.capture == capture);
            let target = target::aim_again(&loaded, wanted, &held, waited).map_err(refused)?;
            Ok(Prepared { target, loaded: Some(Arc::new(loaded)) })
        });
    }

    /// The new configuration counts from here. Tells what of it does not yet.
    pub(super) fn take_over(&mut self, loaded: Arc<Loaded>) -> String {
        let mut config = loaded.config.clone();
        let later = keep_what_stays(&mut config, &self.config);
        let mut words = self.replace_outputs(&config);
        // They were read without an error a moment ago.
        match Keys::read(&config) {
            Ok(keys) => self.doors.change(keys),
            Err(error) => words += &format!("; keys and tokens stay as they were: {error}"),
        }
        if let Some(sfu) = &self.sfu {
            config.sfu.publishers.iter().for_each(|publisher| sfu.declare(publisher.stream.clone()));
        }
        if !later.is_empty() {
            let counts = if later.len() == 1 { "counts" } else { "count" };
            words += &format!("; {} {counts} when the daemon is started anew", later.join(" and "));
        }
        self.config = config;
        self.loaded = loaded;
        words
    }

    /// Ends outputs that are configured no more, or otherwise, and starts those that are new.
    fn replace_outputs(&mut self, config: &BoxConfig) -> String {
        let before = std::mem::take(&mut self.config.outputs);
        let same = |name: &str| {
            let find = |outputs: &[crate::config::OutputConfig]| {
                outputs.iter().find(|output| output.name == name).cloned()
            };
            find(&before).filter(|old| find(&config.outputs).as_ref() == Some(old)).is_some()
        };
        let (stay, go) =
            std::mem::take(&mut self.outputs).into_iter().partition(|output| same(output.name()));
        self.outputs = stay;
        for output in go {
            self.resting.remove(output.name());
            tokio::spawn(output.finish(FAREWELL));
        }
        let fresh: Vec<_> = config.outputs.iter().filter(|output| !same(&output.name)).cloned().collect();
        let place =
            Place { engine: &self.engine, disk: self.loaded.queues.disk, stream: &self.config.sfu.stream };
        match outputs(&place, &fresh, &self.lanes(), self.seed) {
            Ok(started) => {
                if self.stopped {
                    started.iter().for_each(crate::output::Output::stop);
                }
                self.outputs.extend(started);
                String::new()
            }
            Err(error) => format!("; the new outputs cannot start: {error}"),
        }
    }

    /// What `/api/profiles` answers from: the files, with the active profile marked.
    pub(super) fn show_active(&self) {
        let mut shown = (*self.loaded).clone();
        shown.config.profile = match self.profile.name.as_str() {
            "auto" => ProfileChoice::Auto,
            name => ProfileChoice::Named(name.to_owned()),
        };
        self.shown.store(Arc::new(shown));
    }
}

/// Puts back what cannot change while the daemon runs; the keys of it that would differ.
fn keep_what_stays(config: &mut BoxConfig, present: &BoxConfig) -> Vec<&'static str> {
    let mut later = Vec::new();
    let (http, sfu) = (&mut config.http, &mut config.sfu);
    keep("`http.listen`", &mut http.listen, &present.http.listen, &mut later);
    keep("`sfu.enabled`", &mut sfu.enabled, &present.sfu.enabled, &mut later);
    keep("`sfu.stream`", &mut sfu.stream, &present.sfu.stream, &mut later);
    keep("`sfu.media`", &mut sfu.media, &present.sfu.media, &mut later);
    keep("`sfu.public_addresses`", &mut sfu.public_addresses, &present.sfu.public_addresses, &mut later);
    keep("`sfu.max_viewers`", &mut sfu.max_viewers, &present.sfu.max_viewers, &mut later);
    later
}

fn keep<T: Clone + PartialEq>(key: &'static str, wanted: &mut T, present: &T, later: &mut Vec<&'static str>) {
    if wanted != present {
        wanted.clone_from(present);
        later.push(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_change_is_put_back_and_named() {
        let present = BoxConfig::default();
        let mut wanted = present.clone();
        wanted.sfu.max_viewers += 1;
        wanted.sfu.replace_publisher = !wanted.sfu.replace_publisher;
        wanted.sfu.ice_servers.push("stun:stun.example.net".to_owned());
        wanted.http.listen.set_port(1);
        assert_eq!(keep_what_stays(&mut wanted, &present), ["`http.listen`", "`sfu.max_viewers`"]);
        assert_eq!(
            (wanted.http.listen, wanted.sfu.max_viewers),
            (present.http.listen, present.sfu.max_viewers)
        );
        assert_ne!(wanted, present, "the rest counts");
        assert!(keep_what_stays(&mut wanted, &present).is_empty());
    }
}

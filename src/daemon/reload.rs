//! Reading the configuration again: what differs is rebuilt, and what is broken changes nothing.

use std::sync::Arc;

use super::appliance::Appliance;
use super::change::{Prepared, Reply, What, refused};
use super::files::Loaded;
use super::start::{Place, outputs, refuse_what_is_missing};
use super::target::{Wanted, aim};
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
        self.prepare(What::Reload, reply, move || {
            let (loaded, problems) = options.sources().load(&options.overrides());
            let Some(loaded) = loaded else {
                let found = problems.render(Look::PLAIN);
                return Err(CommandError::Refused {
                    reason: format!("the configuration has errors, and nothing was changed\n{found}"),
                    hint: Some("`capcast check` reports the same without a reload".to_owned()),
                });
            };
            refuse_what_is_missing(&loaded.config).map_err(refused)?;
            let wanted = match loaded.config.profile == configured {
                true => Wanted::named(&active),
                false => Wanted::Chosen(loaded.config.profile.clone()),
            };
            let target = aim(&loaded, wanted, held.as_deref()).map_err(refused)?;
            Ok(Prepared { target, loaded: Some(Arc::new(loaded)) })
        });
    }

    /// The new configuration counts from here. Tells what of it does not yet.
    pub(super) fn take_over(&mut self, loaded: Arc<Loaded>) -> String {
        let mut config = loaded.config.clone();
        let mut later = Vec::new();
        if config.sfu != self.config.sfu {
            later.push("`[sfu]`");
            config.sfu = self.config.sfu.clone();
        }
        if config.http != self.config.http {
            later.push("`[http]`");
            config.http = self.config.http.clone();
        }
        let mut words = self.replace_outputs(&config);
        if !later.is_empty() {
            words += &format!("; {} counts when the daemon is started anew", later.join(" and "));
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

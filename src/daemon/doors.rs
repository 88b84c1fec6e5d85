//! Who may come in, and how it is told apart: the control token, keys of streams, TLS. All of it can change while requests
//! come in: at a reload, and TLS also when its files do.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::{MissedTickBehavior, interval};

use super::{RunError, secret};
use crate::config::{BoxConfig, JwtConfig, SecretSource};
use crate::http::{Access, ControlToken, Identity, Rules, Tls, TokenKey, Trust, Webhook};
use crate::media::StreamName;

/// How often the files of TLS are looked at: whatever renews a certificate tells nobody.
const EVERY: Duration = Duration::from_secs(5);

/// Longer than any chain of certificates.
const LONGEST: u64 = 1024 * 1024;

/// What the configuration names, read from its files.
pub(super) struct Keys {
    token: Option<ControlToken>,
    rules: Rules,
    ice_servers: Vec<String>,
    tls: Option<(Files, Identity)>,
}

impl Keys {
    /// Reads every file that is named.
    ///
    /// # Errors
    /// With the key and the file that cannot be used.
    pub(super) fn read(config: &BoxConfig) -> Result<Keys, RunError> {
        let token = match &config.http.control_token {
            Some(source) => ControlToken::new(&secret::read("http.control_token_file", source)?),
            None => None,
        };
        let tls = match &config.http.tls {
            Some((certificate, key)) => {
                let files = Files::of(certificate, key);
                let identity = files.identity()?;
                Some((files, identity))
            }
            None => None,
        };
        Ok(Keys { token, rules: rules(config)?, ice_servers: config.sfu.ice_servers.clone(), tls })
    }
}

/// Who may publish and watch.
fn rules(config: &BoxConfig) -> Result<Rules, RunError> {
    let sfu = &config.sfu;
    let publishers = sfu.publishers.iter().map(|publisher| (&publisher.stream, &publisher.key));
    let views = sfu.views.iter().map(|view| (&view.stream, &view.key));
    let webhook = sfu.webhook.as_ref().map(|webhook| Webhook::new(webhook.url.clone(), webhook.timeout));
    Ok(Rules {
        publish: keys("sfu.publisher", "sfu.publisher.key_file", publishers)?,
        view: keys("sfu.view", "sfu.view.key_file", views)?,
        tokens: sfu.jwt.as_ref().map(token_key).transpose()?,
        webhook: webhook.transpose().map_err(RunError::Webhook)?,
        replace: sfu.replace_publisher,
    })
}

/// The keys of streams. Two streams with one key would leave open which one it names.
fn keys<'a>(
    table: &'static str,
    file: &'static str,
    streams: impl Iterator<Item = (&'a StreamName, &'a SecretSource)>,
) -> Result<Vec<(StreamName, String)>, RunError> {
    let mut keys: Vec<(StreamName, String)> = Vec::new();
    for (stream, source) in streams {
        let key = secret::read(file, source)?;
        if let Some((other, _)) = keys.iter().find(|(_, known)| *known == key) {
            let (stream, other) = (stream.clone(), other.clone());
            return Err(RunError::SameKey { table, stream, other });
        }
        keys.push((stream.clone(), key));
    }
    Ok(keys)
}

fn token_key(config: &JwtConfig) -> Result<TokenKey, RunError> {
    let (key, made) = match config {
        JwtConfig::EdDsa(source) => {
            let key = "sfu.jwt.public_key_file";
            (key, TokenKey::ed_dsa(&secret::read(key, source)?))
        }
        JwtConfig::Hs256(source) => {
            let key = "sfu.jwt.secret_file";
            (key, TokenKey::hs256(&secret::read(key, source)?))
        }
    };
    made.map_err(|reason| RunError::TokenKey { key, reason })
}

/// What the HTTP side holds of all this; cheap to clone.
#[derive(Clone)]
pub(super) struct Doors {
    pub(super) trust: Trust,
    pub(super) access: Access,
    pub(super) ice_servers: Arc<ArcSwap<Vec<String>>>,
    pub(super) tls: Tls,
    files: Arc<Mutex<Option<Files>>>,
}

impl Doors {
    /// As `keys` say.
    pub(super) fn new(keys: Keys) -> Doors {
        let doors = Doors {
            trust: Trust::new(None),
            access: Access::new(Rules::default()),
            ice_servers: Arc::default(),
            tls: Tls::default(),
            files: Arc::default(),
        };
        doors.change(keys);
        doors
    }

    /// From now on as `keys` say. Another control token ends every login; sessions and connections go on.
    pub(super) fn change(&self, keys: Keys) {
        self.trust.set_token(keys.token);
        self.access.set(keys.rules);
        self.ice_servers.store(Arc::new(keys.ice_servers));
        let (files, identity) = keys.tls.unzip();
        // Held until the certificate is shown: `look` may have a newer one by then.
        let mut held = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        *held = files;
        if let Some(identity) = &identity {
            tell(identity);
        }
        self.tls.set(identity);
    }

    /// Looks at the files of TLS now and then, as long as the daemon runs.
    pub(super) async fn watch(self) {
        let mut looks = interval(EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let doors = self.clone();
            if tokio::task::spawn_blocking(move || doors.look()).await.is_err() {
                return;
            }
        }
    }

    /// Takes another certificate and key if the files hold other ones; those in use stay where the new ones are no good.
    fn look(&self) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = files.as_mut() else { return };
        let now = Files::of(&known.certificate, &known.key);
        if now == *known {
            return;
        }
        *known = now;
        match known.identity() {
            Ok(identity) => {
                tell(&identity);
                self.tls.set(Some(identity));
            }
            // One of the two may have been written only; the other is seen at the next look.
            Err(error) => tracing::warn!("{error}; the certificate that was read before stays in use"),
        }
    }
}

fn tell(identity: &Identity) {
    if identity.expired {
        tracing::warn!("the TLS certificate does not count today; it is for {}", identity.words);
    } else {
        tracing::info!("TLS with a certificate for {}", identity.words);
    }
}

/// The files of TLS, as they were when they were looked at.
#[derive(PartialEq, Eq)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    seen: [Option<Seen>; 2],
}

/// Inode, length, and time of the last change: what a file's replacement cannot leave all alike.
type Seen = (u64, u64, i64, i64);

impl Files {
    fn of(certificate: &Path, key: &Path) -> Files {
        let seen = |path: &Path| {
            let found = std::fs::metadata(path).ok()?;
            Some((found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
        };
        Files {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            seen: [seen(certificate), seen(key)],
        }
    }

    fn identity(&self) -> Result<Identity, RunError> {
        let certificate = read("http.tls_certificate", &self.certificate)?;
        let key = read("http.tls_key", &self.key)?;
        Identity::new(&certificate, &key).map_err(|error| RunError::Tls {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            reason: error,
        })
    }
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, RunError> {
    let refuse =
        |error: std::io::Error| RunError::Secret { key, path: path.to_owned(), reason: error.to_string() };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(refuse)?;
    file.take(LONGEST).read_to_end(&mut bytes).map_err(refuse)?;
    Ok(bytes)
}

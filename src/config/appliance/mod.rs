//! What `capcast.toml` says: what this box does. Typed; read by `read`.

mod output;
mod places;
mod read;
mod srt;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::media::{ByteSize, Codec, Delay, FrameSize, Framerate, StreamName, TsSound};

pub use read::{parse_box, parse_box_with};
pub use srt::SrtConfig;

/// The profiles there are, by name, each with its codec as far as it could be read.
pub type KnownProfiles = BTreeMap<String, Option<Codec>>;

/// The whole of `capcast.toml`. Every key is optional; [`Default`] is the empty file.
#[derive(Clone, Debug, PartialEq)]
pub struct BoxConfig {
    /// Which profile to run.
    pub profile: ProfileChoice,
    /// What to capture.
    pub capture: CaptureConfig,
    /// Where to publish, in the order written; names are unique.
    pub outputs: Vec<OutputConfig>,
    /// The bundled SFU.
    pub sfu: SfuConfig,
    /// The HTTP server.
    pub http: HttpConfig,
}

impl Default for BoxConfig {
    fn default() -> Self {
        BoxConfig {
            profile: ProfileChoice::Auto,
            capture: CaptureConfig::default(),
            outputs: Vec::new(),
            sfu: SfuConfig::default(),
            http: HttpConfig::default(),
        }
    }
}

/// `profile = …`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProfileChoice {
    /// H.264 by the first encoder that runs here; 720p30, or 1080p30 with four cores or more.
    Auto,
    /// A profile's name.
    Named(String),
}

/// `[capture]`
#[derive(Clone, Debug, PartialEq)]
pub struct CaptureConfig {
    /// Where the picture comes from.
    pub video: VideoInput,
    /// The mode to ask of it.
    pub mode: CaptureMode,
    /// H.264 that arrives over the network is passed on as it is, where it fits.
    pub passthrough: bool,
    /// Where the sound comes from.
    pub audio: AudioInput,
    /// Positive delays audio, negative delays video.
    pub audio_delay: Delay,
    /// What to do while there is no picture.
    pub no_signal: NoSignal,
}

impl Default for CaptureConfig {
    fn default() -> Self {
        CaptureConfig {
            video: VideoInput::Auto,
            mode: CaptureMode::Auto,
            passthrough: false,
            audio: AudioInput::Auto,
            audio_delay: Delay::default(),
            no_signal: NoSignal::Slate,
        }
    }
}

/// `capture.video`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VideoInput {
    /// The card when there is one, else the test picture.
    Auto,
    /// A device node: `/dev/video0` or `/dev/v4l/by-id/…`.
    Device(PathBuf),
    /// A stable by-id name, without its directory.
    ById(String),
    /// A moving picture with clock and frame number.
    Test,
    /// A file that loops: `file:/path`.
    File(PathBuf),
    /// `srt://…`
    Srt(SrtConfig),
    /// `https://…` or `http://…`: a playlist, or a trickle channel.
    Url {
        /// As written.
        url: String,
        /// `token_file`: a bearer token for its server.
        token: Option<SecretSource>,
    },
}

/// `capture.mode`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaptureMode {
    /// What fits the profile best.
    Auto,
    /// `"1920x1080@60"`; without `@`, any rate.
    Fixed(FrameSize, Option<Framerate>),
}

/// `capture.audio`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AudioInput {
    /// The card that belongs to the picture's device, else the first capture card; the test picture brings a tone, a
    /// file its own sound.
    Auto,
    /// An ALSA device such as `hw:CARD=Capture`.
    Alsa(String),
    /// A tone.
    Test,
    /// No audio track at all.
    None,
}

/// `capture.no_signal`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSignal {
    /// The stream goes on with a picture that says why.
    Slate,
    /// The stream stops.
    Stop,
}

/// `[[output]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputConfig {
    /// Unique among outputs.
    pub name: String,
    /// What kind of destination.
    pub kind: OutputKind,
    /// `url` of `whip` (unless `url_file` is there) and `trickle`.
    pub url: Option<String>,
    /// `url_file`, for `whip`: a URL that is itself the secret.
    pub url_file: Option<SecretSource>,
    /// `url` of `srt`.
    pub srt: Option<SrtConfig>,
    /// `path`, `segment`, `keep` and `max_size`, for `record`.
    pub recording: Option<RecordingConfig>,
    /// `token_file`.
    pub token: Option<SecretSource>,
    /// May this output lower the bitrate?
    pub adaptive: bool,
    /// `audio`, for `srt` and `trickle`.
    pub sound: TsSound,
    /// `ice_servers`: STUN and TURN servers to use besides those that a WHIP server announces.
    pub ice_servers: Vec<String>,
    /// `ice_credential_file`: a user name and a password, one a line, for those of them that are TURN.
    pub ice_credential: Option<SecretSource>,
}

/// Where a recording goes, and how much of it stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordingConfig {
    /// `path`: of each file, with `{stream}` and `{time}` to be filled in; ends in `.mkv`.
    pub path: String,
    /// `segment`: a new file after this long; at least a second.
    pub segment: Option<Duration>,
    /// `keep`: files that were last written longer ago are deleted.
    pub keep: Option<Duration>,
    /// `max_size`: the oldest files are deleted beyond this, all together.
    pub max_size: Option<ByteSize>,
}

/// `kind = …` of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputKind {
    /// RFC 9725.
    Whip,
    /// MPEG-TS over SRT.
    Srt,
    /// Matroska on disk.
    Record,
    /// Numbered segments by HTTP.
    Trickle,
}

/// Where a secret is read from when it is needed; never the secret itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// A file's path.
    File(PathBuf),
    /// `credential:NAME`, a file in systemd's `$CREDENTIALS_DIRECTORY`.
    Credential(String),
}

/// `[sfu]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SfuConfig {
    /// Run it at all?
    pub enabled: bool,
    /// The name the box's own picture is watched under.
    pub stream: StreamName,
    /// One port for all media.
    pub media: SocketAddr,
    /// Candidates to offer; empty means this host's own addresses.
    pub public_addresses: Vec<IpAddr>,
    /// More are refused with 503.
    pub max_viewers: u32,
    /// STUN/TURN URIs to offer by `Link`.
    pub ice_servers: Vec<String>,
    /// May a second publisher with the right key take over?
    pub replace_publisher: bool,
    /// `[[sfu.publisher]]`: who else may publish here.
    pub publishers: Vec<PublisherConfig>,
    /// `[[sfu.view]]`: streams that need a key to watch.
    pub views: Vec<ViewConfig>,
    /// `[sfu.jwt]`
    pub jwt: Option<JwtConfig>,
    /// `[sfu.webhook]`
    pub webhook: Option<WebhookConfig>,
}

impl Default for SfuConfig {
    fn default() -> Self {
        SfuConfig {
            enabled: true,
            stream: StreamName::default(),
            media: SocketAddr::from((Ipv6Addr::UNSPECIFIED, 8900)),
            public_addresses: Vec::new(),
            max_viewers: 500,
            ice_servers: Vec::new(),
            replace_publisher: true,
            publishers: Vec::new(),
            views: Vec::new(),
            jwt: None,
            webhook: None,
        }
    }
}

/// `[[sfu.publisher]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublisherConfig {
    /// The stream this key publishes.
    pub stream: StreamName,
    /// The publish key.
    pub key: SecretSource,
}

/// `[[sfu.view]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewConfig {
    /// The stream that needs a key.
    pub stream: StreamName,
    /// The view key.
    pub key: SecretSource,
}

/// `[sfu.jwt]`: exactly one of the two keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwtConfig {
    /// `public_key_file`: EdDSA, PEM.
    EdDsa(SecretSource),
    /// `secret_file`: HS256.
    Hs256(SecretSource),
}

/// `[sfu.webhook]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookConfig {
    /// Asked before each publish or view.
    pub url: String,
    /// How long it may take.
    pub timeout: Duration,
}

/// `[http]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Needed for control from anywhere but the socket and loopback.
    pub control_token: Option<SecretSource>,
    /// `tls_certificate` and `tls_key`, both or neither.
    pub tls: Option<(PathBuf, PathBuf)>,
}

impl Default for HttpConfig {
    fn default() -> Self {
        HttpConfig { listen: SocketAddr::from((Ipv6Addr::UNSPECIFIED, 8899)), control_token: None, tls: None }
    }
}

//! Text to typed configuration, with *all* diagnostics at once.
//!
//! Pure: takes texts with names, gives values or diagnostics. Reading files is the caller's (`daemon`, `cli`).

mod appliance;
mod profile;

pub use appliance::{
    AudioInput, BoxConfig, CaptureConfig, CaptureMode, HttpConfig, JwtConfig, NoSignal, OutputConfig,
    OutputKind, ProfileChoice, PublisherConfig, SecretSource, SfuConfig, VideoInput, ViewConfig,
    WebhookConfig,
};
pub use profile::{
    AudioProfile, EncoderChoice, Profile, PropertyLiteral, Rendition, SizeChoice, Speed, VideoProfile,
};

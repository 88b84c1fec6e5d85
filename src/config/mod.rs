//! Text to typed configuration, with *all* diagnostics at once.
//!
//! Pure: takes texts with names, gives values or diagnostics. Reading files is the caller's (`daemon`, `cli`).

pub mod parse;

mod appliance;
mod diagnostic;
mod profile;
mod render;
mod source;
#[cfg(test)]
mod tests;

pub use appliance::{
    AudioInput, BoxConfig, CaptureConfig, CaptureMode, HttpConfig, JwtConfig, KnownProfiles, NoSignal,
    OutputConfig, OutputKind, ProfileChoice, PublisherConfig, RecordingConfig, SecretSource, SfuConfig,
    SrtConfig, VideoInput, ViewConfig, WebhookConfig, parse_box, parse_box_with,
};
pub use diagnostic::{Complaint, Diagnostic, Diagnostics, Severity};
pub use profile::{
    AudioProfile, EncoderChoice, KnownEncoders, Profile, PropertyLiteral, Rendition, SizeChoice, Speed,
    VideoProfile, parse_profile, parse_profile_among,
};
pub use render::Look;
pub use source::{Position, Source};

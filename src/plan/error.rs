//! Why there is no plan.

use crate::media::Codec;

/// One reason why a profile cannot be planned on this box. [`PlanError::hint`] has the cure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// No encoder of those the profile allows runs here.
    #[error("no {} encoder can run here: {}", .codec.title(), reasons(.tried))]
    NoEncoder {
        /// The profile's codec.
        codec: Codec,
        /// Each candidate with the reason against it.
        tried: Vec<(String, String)>,
        /// Debian packages that would bring one, best first.
        packages: Vec<String>,
    },
    /// The profile names an encoder that no fragment describes.
    #[error("`{name}` is not an encoder{}", also(.known))]
    UnknownEncoder {
        /// As written.
        name: String,
        /// All that would fit the codec.
        known: Vec<String>,
        /// The nearest.
        nearest: Option<String>,
    },
    /// The encoder makes another codec.
    #[error("encoder `{name}` makes {}, but the profile asks for {}", .makes.title(), .wanted.title())]
    OtherCodec {
        /// As written.
        name: String,
        /// The fragment's codec.
        makes: Codec,
        /// The profile's codec.
        wanted: Codec,
    },
    /// A fragment that this needs is not there.
    #[error("there is no fragment `{0}`")]
    NoFragment(String),
    /// An element that the plan needs is not there.
    #[error("fragment `{fragment}` needs the GStreamer element `{element}`, which is not there")]
    NoElement {
        /// The fragment.
        fragment: String,
        /// The factory.
        element: String,
        /// The Debian package that has it.
        package: Option<String>,
        /// What the box must have in it for the element to be there.
        hardware: Option<String>,
        /// That package is installed.
        installed: bool,
    },
    /// An element that the plan needs is there, but something that it needs is not.
    #[error("fragment `{fragment}` cannot be used: {reason}")]
    Unusable {
        /// The fragment.
        fragment: String,
        /// What is missing, in words.
        reason: String,
        /// The Debian package that has it.
        package: Option<String>,
    },
    /// A fragment's condition does not hold.
    #[error("fragment `{fragment}` cannot be used: {reason}")]
    Unfit {
        /// The fragment.
        fragment: String,
        /// Which condition, in words.
        reason: String,
    },
    /// An encoder that is there, but frames do not get through it.
    #[error("encoder `{encoder}` does not run here: {reason}")]
    DoesNotRun {
        /// The fragment.
        encoder: String,
        /// What came of trying it.
        reason: String,
    },
    /// The configured device is not there.
    #[error("there is no capture device `{name}`{}", also(.known))]
    NoDevice {
        /// As written.
        name: String,
        /// The configuration key it was written under.
        key: &'static str,
        /// What is there.
        known: Vec<String>,
    },
    /// The device cannot be opened by this user.
    #[error("capture device `{name}` may not be opened by this user")]
    DeviceDenied {
        /// The node.
        name: String,
    },
    /// The device has nothing that the source fragment can take.
    #[error("capture device `{name}` offers no format that Capcast can take{}", also(.offered))]
    NoFormat {
        /// The node.
        name: String,
        /// What it offers.
        offered: Vec<String>,
    },
    /// `capture.mode` asks for what the device does not offer.
    #[error("capture device `{name}` has no mode {mode}")]
    NoMode {
        /// The node.
        name: String,
        /// As written.
        mode: String,
        /// What it offers.
        offered: Vec<String>,
    },
    /// The configured file is not there, is not readable, or holds no picture.
    #[error("`{path}` cannot be played: {reason}")]
    NoClip {
        /// As written, without `file:`.
        path: String,
        /// Why, in words.
        reason: String,
    },
    /// A property that the element does not have.
    #[error("{place}: element `{element}` has no property `{property}`")]
    UnknownProperty {
        /// Where it was written: `[video.properties]` or a fragment's file.
        place: String,
        /// The factory.
        element: String,
        /// As written.
        property: String,
        /// The nearest.
        nearest: Option<String>,
    },
    /// A property that a profile may not set.
    #[error("`[video.properties]`: encoder `{encoder}` does not let `{property}` be changed: {reason}")]
    Forbidden {
        /// The fragment.
        encoder: String,
        /// As written.
        property: String,
        /// The fragment's words.
        reason: String,
    },
    /// A value that the property does not take.
    #[error("{place}: property `{property}` of `{element}` does not take {found}")]
    WrongValue {
        /// Where it was written.
        place: String,
        /// The factory.
        element: String,
        /// As written.
        property: String,
        /// As written.
        found: String,
        /// What it takes.
        expected: String,
    },
}

impl PlanError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            PlanError::NoEncoder { packages, .. } => match packages.as_slice() {
                [] => None,
                [package, ..] => Some(format!("install the Debian package `{package}`")),
            },
            PlanError::UnknownEncoder { nearest, .. } | PlanError::UnknownProperty { nearest, .. } => {
                nearest.as_ref().map(|name| format!("did you mean `{name}`?"))
            }
            PlanError::OtherCodec { makes, .. } => {
                Some(format!("write `codec = \"{makes}\"`, or choose another encoder"))
            }
            PlanError::NoFragment(name) => {
                Some(format!("`{name}` is shipped in /usr/share/capcast/pipelines; was it moved?"))
            }
            PlanError::NoElement {
                hardware: Some(hardware),
                package: Some(package),
                installed: false,
                ..
            } => Some(format!("it needs {hardware}, and the Debian package `{package}`")),
            PlanError::NoElement { hardware: Some(hardware), .. } => Some(format!("it needs {hardware}")),
            PlanError::NoElement { installed: true, package: Some(package), .. } => {
                Some(format!("`{package}` is installed, but too old for it or not whole"))
            }
            PlanError::Forbidden { property, .. } => Some(format!("leave `{property}` out")),
            PlanError::NoElement { package, .. } | PlanError::Unusable { package, .. } => {
                package.as_ref().map(|name| format!("install the Debian package `{name}`"))
            }
            PlanError::Unfit { .. } => None,
            PlanError::DoesNotRun { .. } => Some("`capcast doctor` tries it again".to_owned()),
            PlanError::NoDevice { .. } => Some("`capcast devices` lists what is plugged in".to_owned()),
            PlanError::DeviceDenied { .. } => {
                Some("add the user to the group `video`, and log in again".to_owned())
            }
            PlanError::NoFormat { .. } => None,
            PlanError::NoMode { offered, .. } => {
                Some(format!("it offers {}; or write `mode = \"auto\"`", offered.join(", ")))
            }
            PlanError::NoClip { .. } => Some(
                "a file must be there, readable and with a picture in it, when Capcast starts".to_owned(),
            ),
            PlanError::WrongValue { expected, .. } => Some(format!("expected {expected}")),
        }
    }

    /// The configuration key that it is about, where there is one: a profile's for `video.…`, the box's for `capture.…`.
    pub fn key(&self) -> Option<&'static str> {
        match self {
            PlanError::NoEncoder { .. } | PlanError::UnknownEncoder { .. } | PlanError::OtherCodec { .. } => {
                Some("video.encoder")
            }
            PlanError::NoDevice { key, .. } => Some(key),
            PlanError::DeviceDenied { .. } | PlanError::NoFormat { .. } | PlanError::NoClip { .. } => {
                Some("capture.video")
            }
            PlanError::NoMode { .. } => Some("capture.mode"),
            PlanError::UnknownProperty { .. }
            | PlanError::WrongValue { .. }
            | PlanError::Forbidden { .. } => Some("video.properties"),
            PlanError::NoFragment(_)
            | PlanError::NoElement { .. }
            | PlanError::Unusable { .. }
            | PlanError::Unfit { .. }
            | PlanError::DoesNotRun { .. } => None,
        }
    }
}

fn reasons(tried: &[(String, String)]) -> String {
    if tried.is_empty() {
        return "there is no fragment for it".to_owned();
    }
    tried.iter().map(|(name, reason)| format!("`{name}`: {reason}")).collect::<Vec<_>>().join("; ")
}

fn also(known: &[String]) -> String {
    match known {
        [] => String::new(),
        _ => format!(" (there is {})", known.join(", ")),
    }
}

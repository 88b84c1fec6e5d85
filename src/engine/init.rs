//! GStreamer itself: started once per process, with the elements that Capcast brings along.

use std::fmt;
use std::sync::OnceLock;

use gstreamer as gst;

use super::{log, svt};

/// The version of the GStreamer libraries in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GstVersion {
    /// Always 1.
    pub major: u32,
    /// 22, 24, 26, …: even ones are stable.
    pub minor: u32,
    /// Bug fix release.
    pub micro: u32,
}

impl fmt::Display for GstVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.micro)
    }
}

/// Why GStreamer could not be started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InitError {
    /// `gst_init` refused.
    #[error("GStreamer does not start: {0}")]
    Start(String),
    /// A plugin that is linked into Capcast could not be registered.
    #[error("the built-in GStreamer plugin `{plugin}` cannot be registered: {reason}")]
    Plugin {
        /// `rsrtp`, `rav1e` or `svt`.
        plugin: &'static str,
        /// GStreamer's words.
        reason: String,
    },
}

/// Starts GStreamer, registers the plugins that are linked in (`rsrtp`, `rav1e`) and its own elements, and routes GStreamer's own warnings
/// into `tracing`. Does its work once; later calls return the first one's answer.
///
/// # Errors
/// When GStreamer does not start or a built-in plugin is refused.
pub fn init() -> Result<GstVersion, InitError> {
    static DONE: OnceLock<Result<GstVersion, InitError>> = OnceLock::new();
    DONE.get_or_init(start).clone()
}

fn start() -> Result<GstVersion, InitError> {
    svt::quieten();
    gst::init().map_err(|error| InitError::Start(error.to_string()))?;
    log::route();
    gstrsrtp::plugin_register_static()
        .map_err(|error| InitError::Plugin { plugin: "rsrtp", reason: error.to_string() })?;
    gstrav1e::plugin_register_static()
        .map_err(|error| InitError::Plugin { plugin: "rav1e", reason: error.to_string() })?;
    svt::register().map_err(|error| InitError::Plugin { plugin: "svt", reason: error.to_string() })?;
    let (major, minor, micro, _nano) = gst::version();
    Ok(GstVersion { major, minor, micro })
}

//! What can be wrong with SVT-AV1, in words.

/// Why SVT-AV1 cannot be used, or stopped working.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SvtError {
    /// No library of the names that are looked for.
    #[error("SVT-AV1 is not installed: there is no {}", .0.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", no "))]
    Absent(Vec<String>),
    /// It is there but does not load.
    #[error("SVT-AV1 does not load: {0}")]
    Broken(String),
    /// It is there, but not of a version that the bindings fit.
    #[error("SVT-AV1 {0} is installed, and Capcast can call 1.4 and 2.3 only")]
    Version(String),
    /// It does not keep the layout of the version it claims to be.
    #[error("the SVT-AV1 installed says it is {version}, but its `{field}` is not where that version has it")]
    Layout {
        /// As it says.
        version: String,
        /// The first field that is not there.
        field: &'static str,
    },
    /// A parameter that it does not take.
    #[error("SVT-AV1 does not take `{value}` for `{name}`")]
    Parameter {
        /// In its own words.
        name: &'static str,
        /// In its own words.
        value: String,
    },
    /// A call failed.
    #[error("SVT-AV1 failed to {what} (error {code:#010x})")]
    Failed {
        /// To do what.
        what: &'static str,
        /// `EbErrorType`
        code: u32,
    },
    /// It took a picture and gave no packet.
    #[error("SVT-AV1 took a picture and gave no packet")]
    Silent,
}

//! Secrets, read when they are needed.

use std::io::Read;
use std::path::PathBuf;

use super::RunError;
use crate::config::SecretSource;

/// Longer than any token.
const LONGEST: u64 = 16 * 1024;

/// Reads what `key` names.
pub(super) fn read(key: &'static str, source: &SecretSource) -> Result<String, RunError> {
    let path = match source {
        SecretSource::File(path) => path.clone(),
        SecretSource::Credential(name) => match std::env::var_os("CREDENTIALS_DIRECTORY") {
            Some(directory) => PathBuf::from(directory).join(name),
            None => {
                let reason = "no credentials were passed (`LoadCredential=` in the unit)".to_owned();
                return Err(RunError::Secret { key, path: PathBuf::from(name), reason });
            }
        },
    };
    let refuse = |reason: String| RunError::Secret { key, path: path.clone(), reason };
    let mut text = String::new();
    let file = std::fs::File::open(&path).map_err(|error| refuse(error.to_string()))?;
    file.take(LONGEST).read_to_string(&mut text).map_err(|error| refuse(error.to_string()))?;
    match text.trim() {
        "" => Err(refuse("it is empty".to_owned())),
        secret => Ok(secret.to_owned()),
    }
}

//! What recordings there are, by the configuration that counts now.

use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::config::BoxConfig;
use crate::output::record::Shelf;

/// Files told of one output at most; the newest.
const MOST: usize = 1_000;

/// Every recording's files, the newest first: output, name, length, when last written, and where it is fetched.
pub(super) fn list(config: &BoxConfig) -> Value {
    let files = shelves(config).flat_map(|(output, shelf)| {
        shelf.files().into_iter().take(MOST).map(move |file| {
            let written = file.written.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
            let mut url = url::Url::parse("http://localhost/api/recordings").ok();
            if let Some(Ok(mut path)) = url.as_mut().map(url::Url::path_segments_mut) {
                path.push(output).push(&file.name);
            }
            json!({
                "output": output,
                "name": file.name,
                "bytes": file.bytes,
                "written_ms": u64::try_from(written.as_millis()).unwrap_or(u64::MAX),
                "url": url.as_ref().map(url::Url::path),
            })
        })
    });
    Value::Array(files.collect())
}

/// Where a file is that this output made.
pub(super) fn find(config: &BoxConfig, output: &str, name: &str) -> Option<PathBuf> {
    shelves(config).find(|(known, _)| *known == output)?.1.find(name)
}

fn shelves(config: &BoxConfig) -> impl Iterator<Item = (&str, Shelf)> {
    let stream = config.sfu.stream.as_str();
    config.outputs.iter().filter_map(move |output| {
        let recording = output.recording.as_ref()?;
        Some((output.name.as_str(), Shelf::new(&recording.path, stream)))
    })
}

//! A viewer's wish for a layer, as Broadcast Box's player sends it. Its `mediaId` says nothing here: there is one picture.

use serde::Deserialize;

/// The body of `POST /api/layer/{id}`.
#[derive(Debug, Deserialize)]
pub(crate) struct Wanted {
    /// The layer's name; empty or absent for the best one.
    #[serde(rename = "encodingId")]
    encoding_id: Option<String>,
}

impl Wanted {
    /// The layer's name; none for the one that fits.
    pub(crate) fn layer(self) -> Option<String> {
        self.encoding_id.filter(|layer| !layer.is_empty())
    }
}

//! A second WebRTC implementation watches.

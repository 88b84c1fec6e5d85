//! Rendered launch lines run in gst-launch-1.0.

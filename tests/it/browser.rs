//! Headless Chromium watches.

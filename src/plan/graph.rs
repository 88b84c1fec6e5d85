//! Graphs from parts: the nodes that Capcast itself adds, and ids.

/// Elements that a plan adds by itself.
pub(super) const FACTORIES: [&str; 6] =
    ["appsink", "appsrc", "capsfilter", "tee", "videoconvertscale", "videorate"];

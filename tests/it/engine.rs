//! Real graphs.

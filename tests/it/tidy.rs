//! The layer table, held against the sources.

//! Golden plans of every shipped profile.

//! Every TOML block in every document is valid.

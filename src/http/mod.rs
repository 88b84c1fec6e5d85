//! The HTTP server: routes, documents, pages.

pub mod assets;

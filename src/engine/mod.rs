//! (module doc)

mod stamp;

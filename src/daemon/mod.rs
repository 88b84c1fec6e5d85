//! The composition root: the parts become the running appliance.

pub mod files;
mod socket;

pub use socket::SocketPlaces;

//! The composition root: the parts become the running appliance.

mod socket;

pub use socket::SocketPlaces;

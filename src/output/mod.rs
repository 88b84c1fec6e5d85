//! Where the box's own stream goes: the policy of each destination. Transports are `engine`'s and the SFU's.

mod adapt;
mod local;
pub mod whip;

pub use adapt::{Adapt, Scope, Way};
pub use local::Local;
pub use whip::Whip;

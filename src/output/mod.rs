//! Where the box's own stream goes: the policy of each destination. Transports are `engine`'s and the SFU's.

mod local;

pub use local::Local;

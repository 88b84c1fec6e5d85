//! What would be built: profile + fragments + inventory → [`Plan`], plain data that is compared, rendered and built.
//!
//! Pure. `engine` builds exactly what a plan says and decides nothing; so a plan is the whole truth, and a test of a plan
//! is a test of what runs.

mod types;

pub use types::{
    BitrateControl, Choice, Control, Downstream, GraphKind, GraphPlan, KeyframeControl, Link, Node, Plan,
    Role, Value,
};

//! What would be built: profile + fragments + inventory → [`Plan`], plain data that is compared, rendered and built.
//!
//! Pure. `engine` builds exactly what a plan says and decides nothing; so a plan is the whole truth, and a test of a plan
//! is a test of what runs.

mod capture;
mod check;
mod encode;
mod error;
mod fragment;
mod fragment_file;
mod graph;
mod inventory;
mod mode;
mod offer;
mod queues;
pub mod render;
mod resolve;
mod term;
mod trial;
mod types;

pub use capture::{relay_url, srt_url};
pub(crate) use encode::SMALLER;
pub use encode::passes_nothing;
pub use error::PlanError;
pub use fragment::{
    Axis, BitratePart, Comparison, Condition, ElementPart, Fragment, FragmentKind, Fragments, Quantity,
    SourceFormat, Term,
};
pub use fragment_file::parse_fragment;
pub use inventory::{
    Clip, DeviceAccess, Element, GstVersion, Inventory, Property, PropertyKind, Rates, SoundCard, Track,
    Unusable, Verdict, VideoDevice, VideoMode,
};
pub use offer::{Offer, offers};
pub use queues::{QueueClass, Queues, parse_queues};
pub use resolve::{auto_profile, resolve};
pub use trial::{candidates, trial};
pub use types::{
    BitrateControl, Choice, Control, Downstream, GraphKind, GraphPlan, INSTANCE, KeyframeControl, Link, Node,
    Plan, Role, Upstream, Value,
};

#[cfg(test)]
mod tests;

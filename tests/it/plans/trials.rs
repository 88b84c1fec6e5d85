//! The small graph in which an encoder is tried can be planned wherever the encoder can.

use capcast::media::MediaKind;
use capcast::plan::{Inventory, PlanError, trial};

use super::boxes::shipped;
use crate::elements::table::Table;

#[test]
fn every_encoder_can_be_tried_on_every_version_that_has_it() {
    let shipped = shipped();
    let mut encoders = shipped.fragments.encoders.clone();
    encoders.retain(|_, encoder| encoder.codec.is_some_and(|codec| codec.kind() == MediaKind::Video));
    let mut planned = std::collections::BTreeSet::new();
    for version in ["1.22", "1.24", "1.26", "1.28"] {
        let table = Table::of(version);
        let elements = table.elements.into_iter().map(|(name, entry)| (name, entry.element)).collect();
        let inventory = Inventory { gstreamer: table.version, elements, cores: 4, ..Inventory::default() };
        for (name, encoder) in &encoders {
            match trial(encoder, &shipped.fragments, &shipped.queues, &inventory) {
                Ok(graph) => {
                    assert_eq!(graph.fragment, *name);
                    assert!(graph.control.keyframe.is_some(), "{name}: no keyframe can be asked for");
                    planned.insert(name.as_str());
                }
                // What a version does not have says nothing of the trial.
                Err(errors) => assert!(
                    errors.iter().all(|error| matches!(
                        error,
                        PlanError::NoElement { .. } | PlanError::Unfit { .. } | PlanError::Unusable { .. }
                    )),
                    "{name} on {version}: {errors:?}"
                ),
            }
        }
    }
    let never: Vec<&String> = encoders.keys().filter(|name| !planned.contains(name.as_str())).collect();
    assert!(never.is_empty(), "on no version: {never:?}");
}

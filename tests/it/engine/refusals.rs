//! What cannot be built is refused with a name and a cure, and never by a panic.

use capcast::engine::{BuildError, PropertyProblem};
use capcast::media::{Fault, MediaKind};
use capcast::plan::{GraphPlan, Role, Value};

use super::{node, pass_through, shared_engine, test_capture, text, unheard};

fn refused(plan: &GraphPlan) -> BuildError {
    let engine = shared_engine();
    let hub = engine.raw_hub(MediaKind::Video);
    engine.capture(plan, &hub, unheard()).err().expect("must be refused")
}

fn problem(factory: &str, property: &str, value: Value) -> (PropertyProblem, String) {
    let plan = test_capture(&[], vec![node("odd", factory, Role::Plain, &[(property, value)])]);
    let error = refused(&plan);
    assert_eq!(error.fault(), Fault::Config);
    let words = error.to_string();
    match error {
        BuildError::Property(error) => {
            assert_eq!(
                (error.element.as_str(), error.factory.as_str(), error.property.as_str()),
                ("odd", factory, property)
            );
            (error.problem, words)
        }
        other => panic!("{other}"),
    }
}

#[test]
fn every_kind_of_wrong_property_is_refused_with_what_would_be_right() {
    let (wrong, words) = problem("x264enc", "bitrat", Value::Integer(1));
    assert_eq!(wrong, PropertyProblem::Unknown { similar: Some("bitrate".to_owned()) }, "{words}");
    let (wrong, _) = problem("identity", "last-message", text("x"));
    assert_eq!(wrong, PropertyProblem::ReadOnly);
    let (wrong, words) = problem("x264enc", "bitrate", Value::Integer(-1));
    assert!(matches!(wrong, PropertyProblem::Range { .. }), "{words}");
    assert_eq!(words, "`bitrate` of `odd` (x264enc) cannot be `-1`: it takes 1 to 2048000");
    assert!(matches!(
        problem("x264enc", "bitrate", Value::Integer(i64::MAX)).0,
        PropertyProblem::Range { .. }
    ));
    assert!(matches!(problem("x264enc", "bitrate", text("500")).0, PropertyProblem::Type { .. }));
    assert!(matches!(problem("vp8enc", "target-bitrate", Value::Float(0.5)).0, PropertyProblem::Type { .. }));
    assert!(matches!(
        problem("vp8enc", "target-bitrate", Value::Integer(1 << 40)).0,
        PropertyProblem::Range { .. }
    ));
    assert!(matches!(problem("identity", "silent", Value::Integer(1)).0, PropertyProblem::Type { .. }));
    assert!(matches!(
        problem("identity", "drop-probability", Value::Float(7.0)).0,
        PropertyProblem::Range { .. }
    ));
    assert!(matches!(
        problem("identity", "drop-probability", Value::Float(f64::NAN)).0,
        PropertyProblem::Range { .. }
    ));
    let (wrong, words) = problem("x264enc", "speed-preset", text("warp"));
    assert!(
        matches!(&wrong, PropertyProblem::Nick { nicks, many: false } if nicks.contains(&"superfast".to_owned())),
        "{words}"
    );
    assert!(words.contains("it takes one of `None`, `ultrafast`"), "{words}");
    assert!(matches!(problem("x264enc", "speed-preset", Value::Integer(2)).0, PropertyProblem::Nick { .. }));
    let (wrong, words) = problem("x264enc", "tune", text("zerolatency+nonsense"));
    assert!(matches!(wrong, PropertyProblem::Nick { many: true, .. }), "{words}");
    assert!(matches!(
        problem("capsfilter", "caps", text("video/x-raw,,=")).0,
        PropertyProblem::Unreadable { .. }
    ));
    assert!(matches!(problem("capsfilter", "caps", Value::Integer(3)).0, PropertyProblem::Type { .. }));
    assert!(matches!(
        problem("vp8enc", "temporal-scalability-rate-decimator", text("<a")).0,
        PropertyProblem::Unreadable { .. }
    ));
}

#[test]
fn right_values_of_every_kind_pass() {
    let right = [
        node(
            "a",
            "x264enc",
            Role::Plain,
            &[
                ("tune", text("zerolatency+fastdecode")),
                ("speed-preset", text("ultrafast")),
                ("bitrate", Value::Integer(500)),
                ("option-string", text("scenecut=0")),
            ],
        ),
        node("b", "capsfilter", Role::Plain, &[("caps", text("video/x-h264"))]),
        node("c", "avdec_h264", Role::Plain, &[]),
        node(
            "d",
            "vp8enc",
            Role::Plain,
            &[
                ("deadline", Value::Integer(1)),
                ("target-bitrate", Value::Integer(100_000)),
                ("timebase", text("1/90000")),
            ],
        ),
        node("e", "vp8dec", Role::Plain, &[]),
        node(
            "f",
            "identity",
            Role::Plain,
            &[("drop-probability", Value::Float(0.0)), ("silent", Value::Bool(true))],
        ),
    ];
    let engine = shared_engine();
    let hub = engine.raw_hub(MediaKind::Video);
    let graph = engine.capture(&test_capture(&[], right.to_vec()), &hub, unheard());
    assert!(graph.is_ok(), "{:?}", graph.err());
}

#[test]
fn graphs_that_make_no_sense_are_refused() {
    let engine = shared_engine();
    let plan = test_capture(&[], vec![node("odd", "no-such-element", Role::Plain, &[])]);
    assert!(
        matches!(refused(&plan), BuildError::NoElement { node, factory } if node == "odd" && factory == "no-such-element")
    );
    let plan = test_capture(&[], vec![node("source", "identity", Role::Plain, &[])]);
    assert!(matches!(refused(&plan), BuildError::SameId(id) if id == "source"));
    let plan = test_capture(&[], vec![node("odd", "opusenc", Role::Plain, &[])]);
    assert!(matches!(refused(&plan), BuildError::Link { .. }));
    let mut plan = test_capture(&[], vec![]);
    plan.links[0].to = "nowhere".to_owned();
    assert!(matches!(refused(&plan), BuildError::NoNode(id) if id == "nowhere"));
    let mut plan = test_capture(&[], vec![]);
    plan.nodes.last_mut().unwrap().role = Role::Plain;
    assert!(matches!(refused(&plan), BuildError::Role { .. }));
    assert!(matches!(refused(&pass_through(vec![])), BuildError::Role { .. }));
    let sound = engine.raw_hub(MediaKind::Audio);
    let refused = engine.capture(&test_capture(&[], vec![]), &sound, unheard()).err();
    assert!(matches!(refused, Some(BuildError::Medium { .. })), "{refused:?}");
}

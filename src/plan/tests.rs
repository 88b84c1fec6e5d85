//! Shipped files against boxes.

use std::path::Path;

use super::*;
use crate::config::Source;

#[test]
fn every_shipped_fragment_and_the_queues_parse() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
    for (folder, kind) in [
        ("source", FragmentKind::Source),
        ("encoder", FragmentKind::Encoder),
        ("output", FragmentKind::Output),
    ] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let name = path.file_stem().unwrap().to_str().unwrap();
            let (fragment, diagnostics) = parse_fragment(kind, name, Source::new(name, &text));
            assert!(diagnostics.is_empty(), "{diagnostics:#?}");
            assert!(fragment.is_some());
        }
    }
    let text = std::fs::read_to_string(root.join("queues.toml")).unwrap();
    let (queues, diagnostics) = parse_queues(Source::new("queues.toml", &text));
    assert!(diagnostics.is_empty() && queues.is_some(), "{diagnostics:#?}");
}

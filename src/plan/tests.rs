//! Shipped files against boxes.

use std::path::Path;

use super::*;
use crate::config::Source;

/// Every shipped fragment.
fn fragments() -> Vec<Fragment> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
    let kinds = [
        ("source", FragmentKind::Source),
        ("encoder", FragmentKind::Encoder),
        ("output", FragmentKind::Output),
    ];
    let mut fragments = Vec::new();
    for (folder, kind) in kinds {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let name = path.file_stem().unwrap().to_str().unwrap();
            let (fragment, diagnostics) = parse_fragment(kind, name, Source::new(name, &text));
            assert!(diagnostics.is_empty(), "{diagnostics:#?}");
            fragments.extend(fragment);
        }
    }
    fragments
}

#[test]
fn every_element_has_its_debian_package_unless_it_is_linked_in() {
    let fragments = fragments();
    assert!(fragments.len() >= 18, "{} fragments", fragments.len());
    for fragment in &fragments {
        for element in &fragment.elements {
            let linked_in = ["rav1enc", "rtpav1pay"].contains(&element.factory.as_str());
            let package = graph::package(&element.factory, &[fragment]);
            assert_eq!(package.is_none(), linked_in, "{}: {}", fragment.name, element.factory);
        }
        for factory in fragment.packages.keys() {
            let used = fragment.elements.iter().any(|element| element.factory == *factory);
            assert!(used, "{}: `{factory}` is not used", fragment.name);
        }
    }
}

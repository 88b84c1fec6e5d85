use super::*;

/// The pages of states that stand in `tests/data/status`, beside them.
#[test]
fn each_state_has_its_page() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/status");
    for name in ["starting", "on-air", "no-signal", "from-network", "troubled", "stopped"] {
        let text = std::fs::read_to_string(format!("{folder}/{name}.json")).unwrap();
        let state: Value = serde_json::from_str(&text).unwrap();
        insta::with_settings!({ snapshot_path => folder, prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(name, page(&state, false));
        });
        let painted = page(&state, true);
        assert!(painted.starts_with("\x1b[1;3") && painted.contains("\x1b[0m"), "{painted}");
    }
}

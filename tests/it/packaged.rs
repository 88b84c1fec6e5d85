//! What packages carry beside the binary, held against the sources that it speaks of.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn text(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
        .unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Names in a text that begin so.
fn names(text: &str, prefix: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with(prefix))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_dashboard_asks_for_metrics_that_there_are() {
    let dashboard = text("packaging/grafana.json");
    let panels: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    assert!(panels["panels"].as_array().is_some_and(|panels| panels.len() > 10));
    let metrics = ["mod", "arrival"].map(|file| text(&format!("src/http/metrics/{file}.rs")));
    let known = names(&metrics.concat(), "capcast_");
    let asked = names(&dashboard, "capcast_");
    assert!(asked.len() > 10, "{asked:?}");
    let unknown: Vec<_> = asked
        .iter()
        // OpenMetrics writes counters so.
        .filter(|name| !known.contains(name.trim_end_matches("_total")))
        .collect();
    assert!(unknown.is_empty(), "no such metrics: {unknown:?}");
}

/// Who installs by hand needs what the package needs: the GStreamer plugins of `setup/packages.txt` are the package's.
#[test]
fn the_package_wants_the_plugins_that_the_build_installs() {
    let control = text("packaging/deb/control");
    let wanted = text("setup/packages.txt");
    let plugins = wanted.lines().filter(|line| line.starts_with("run ")).filter_map(|line| {
        let name = line.split_whitespace().nth(1)?;
        ((name.starts_with("gstreamer1.0-") || name.starts_with("fonts-")) && name != "gstreamer1.0-tools")
            .then_some(name)
    });
    let missing: Vec<_> = plugins.filter(|name| !control.contains(&format!("\n {name},"))).collect();
    assert!(missing.is_empty(), "not in packaging/deb/control: {missing:?}");
    let container = text("packaging/Containerfile");
    for name in ["gstreamer1.0-alsa", "gstreamer1.0-nice", "gstreamer1.0-plugins-ugly", "fonts-dejavu-core"] {
        assert!(container.contains(name), "not in packaging/Containerfile: {name}");
    }
}

/// The service, its container and the documents name one port, one socket, one user's folders.
#[test]
fn the_unit_keeps_to_the_places_that_the_daemon_knows() {
    let unit = text("systemd/capcast.service");
    for line in [
        "Type=notify",
        "ExecReload=/usr/bin/capcast reload",
        "StateDirectory=capcast",
        "CacheDirectory=capcast",
        "RuntimeDirectory=capcast",
    ] {
        assert!(unit.lines().any(|found| found == line), "the unit lacks `{line}`");
    }
    // Nothing is run from a rule.
    let rules = text("udev/70-capcast.rules");
    for word in ["RUN", "PROGRAM", "IMPORT{program}"] {
        assert!(!rules.contains(word), "udev/70-capcast.rules says {word}");
    }
}

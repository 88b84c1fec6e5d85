//! The report for people and for programs.

use serde_json::{Value as Json, json};

use super::{Check, Level, Report};

/// Where the words begin: two spaces, the level, two spaces, the name, two spaces.
const NAME: usize = 8;

/// Names that are longer push only their own words to the right.
const LONGEST_NAME: usize = 22;

/// `{version, at, well, counts: {ok, skip, warn, fail}, checks: [{group, name, level, words, cure, package}]}`; `at` in
/// seconds since 1970.
pub fn json(report: &Report) -> Json {
    let check = |check: &Check| {
        json!({
            "group": check.group,
            "name": check.name,
            "level": check.level.as_str(),
            "words": check.words,
            "cure": check.cure,
            "package": check.package,
        })
    };
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "at": report.at,
        "well": report.is_well(),
        "counts": {
            "ok": report.count(Level::Ok),
            "skip": report.count(Level::Skip),
            "warn": report.count(Level::Warn),
            "fail": report.count(Level::Fail),
        },
        "checks": report.checks.iter().map(check).collect::<Vec<_>>(),
    })
}

/// Grouped lines for a terminal of `width` columns, the cure below what it cures, and a last line that sums up.
pub fn text(report: &Report, width: usize, colour: bool) -> String {
    let paint = |level: Level, text: &str| match (colour, level) {
        (false, _) => text.to_owned(),
        (true, Level::Ok) => format!("\x1b[32m{text}\x1b[0m"),
        (true, Level::Skip) => format!("\x1b[2m{text}\x1b[0m"),
        (true, Level::Warn) => format!("\x1b[33m{text}\x1b[0m"),
        (true, Level::Fail) => format!("\x1b[1;31m{text}\x1b[0m"),
    };
    let widest = report.checks.iter().map(|check| check.name.chars().count()).max().unwrap_or(0);
    let name_width = widest.min(LONGEST_NAME);
    let indent = NAME + name_width + 2;
    let mut out = String::new();
    let mut group = "";
    for check in &report.checks {
        if check.group != group {
            group = check.group;
            out += &format!("{}{group}\n", if out.is_empty() { "" } else { "\n" });
        }
        let level = paint(check.level, &format!("{:<4}", check.level.as_str()));
        let mut name = format!("{:<name_width$}", check.name);
        // A name that is too long has a line of its own.
        if check.name.chars().count() > name_width {
            name = format!("{}\n{:2$}", check.name, "", indent - 2);
        }
        let words = wrap(&check.words, width.saturating_sub(indent));
        out += &format!("  {level}  {name}  {}\n", words.join(&format!("\n{:indent$}", "")));
        if let Some(cure) = &check.cure {
            // Its second and later lines are set in by two more.
            let lines = wrap(&format!("> {cure}"), width.saturating_sub(indent + 2));
            for (at, line) in lines.iter().enumerate() {
                out += &format!("{:indent$}{}{line}\n", "", if at == 0 { "" } else { "  " });
            }
        }
    }
    out + "\n" + &paint(worst(report), &summary(report)) + "\n"
}

fn worst(report: &Report) -> Level {
    let worst = report.checks.iter().map(|check| check.level).max();
    worst.filter(|level| *level > Level::Skip).unwrap_or(Level::Ok)
}

fn summary(report: &Report) -> String {
    let (warn, fail) = (report.count(Level::Warn), report.count(Level::Fail));
    let things = |count: usize| if count == 1 { "1 thing".to_owned() } else { format!("{count} things") };
    match (fail, warn) {
        (0, 0) => "All is well.".to_owned(),
        (0, warn) => format!("It works; {} could be better.", things(warn)),
        (fail, 0) => format!("{} must be mended.", things(fail)),
        (fail, warn) => format!("{} must be mended, {} could be better.", things(fail), things(warn)),
    }
}

/// Lines of at most `width` characters, broken at spaces; a longer word stays whole.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last().map_or(0, |line| line.chars().count());
        if line > 0 && line + 1 + word.chars().count() > width {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let long =
            "a reason that goes on and on until it no longer fits into one line of a terminal, and beyond";
        Report {
            checks: vec![
                Check::new("GStreamer", "version", Level::Ok, "1.22.0"),
                Check::new("Encoders", "nvenc", Level::Skip, "not here"),
                Check::new("Encoders", "x264", Level::Warn, long).package(Some("gstreamer1.0-plugins-ugly".to_owned())),
                Check::new("Capture", "usb-MACROSILICON_USB_Video-video-index0", Level::Fail, "not there")
                    .cure("plug it in; `capcast devices` lists what is there, and `capcast check` what is named"),
            ],
            at: 7,
        }
    }

    #[test]
    fn the_report_fits_a_terminal_and_says_each_cure_below() {
        let text = text(&report(), 80, false);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        let expected = "\
GStreamer
  ok    version                 1.22.0

Encoders
  skip  nvenc                   not here
  warn  x264                    a reason that goes on and on until it no longer
                                fits into one line of a terminal, and beyond
                                > install the Debian package
                                  `gstreamer1.0-plugins-ugly`

Capture
  fail  usb-MACROSILICON_USB_Video-video-index0
                                not there
                                > plug it in; `capcast devices` lists what is
                                  there, and `capcast check` what is named

1 thing must be mended, 1 thing could be better.
";
        assert_eq!(text, expected, "\n{text}");
        let coloured = super::text(&report(), 80, true);
        assert!(coloured.contains("\x1b[1;31mfail\x1b[0m"), "{coloured}");
    }

    #[test]
    fn programs_get_the_same() {
        let json = json(&report());
        assert_eq!(
            (&json["well"], &json["at"], &json["counts"]["fail"]),
            (&false.into(), &7.into(), &1.into())
        );
        let check = &json["checks"][2];
        assert_eq!(
            (&check["group"], &check["level"], &check["package"]),
            (&"Encoders".into(), &"warn".into(), &"gstreamer1.0-plugins-ugly".into())
        );
        assert_eq!(json["checks"][0]["cure"], Json::Null);
    }
}

//! Reading `pipelines/**/*.toml`: every problem of a file at once, with its place. The format is described for people in
//! `pipelines/README.md`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::fragment::{
    Axis, BitratePart, Comparison, Condition, ElementPart, Fragment, FragmentKind, Quantity, SourceFormat,
    Term,
};
use super::{GstVersion, Role, Value};
use crate::config::parse::{Document, FromText, Item, Table, nearest};
use crate::config::{Complaint, Diagnostics, PropertyLiteral, Source};
use crate::media::{Bitrate, Codec, FrameSize, Framerate, MediaKind};

/// Keys that people try.
const ADVICE: &[(&str, &str)] = &[
    ("elements", "write one `[[element]]` table for each"),
    (
        "pipeline",
        "fragments are structured: one `[[element]]` table for each element, in the order of data flow",
    ),
    (
        "launch",
        "fragments are structured: one `[[element]]` table for each element, in the order of data flow",
    ),
    ("caps", "put a `capsfilter` element there, with the property `caps`"),
    ("name", "the file's name is the fragment's name"),
    ("if", "write `when`"),
];

/// The roles that a fragment may give; the others are Capcast's own nodes.
const ROLES: [Role; 7] =
    [Role::Plain, Role::Source, Role::Decoder, Role::Pacer, Role::Stamp, Role::Encoder, Role::Payloader];

/// Reads one fragment file. `name` is the file's name without `.toml`, `kind` its folder.
pub fn parse_fragment(kind: FragmentKind, name: &str, source: Source) -> (Option<Fragment>, Diagnostics) {
    let document = Document::parse(source.clone(), &[]).with_advice(ADVICE);
    let fragment = read(document.root(), kind, name, source);
    document.finish(fragment)
}

fn read(mut root: Table<'_>, kind: FragmentKind, name: &str, source: Source) -> Option<Fragment> {
    let summary = root.need_string("summary", "H.264 by x264, in software").map(str::to_owned);
    let media = root.word("media", "medium", &[("video", MediaKind::Video), ("audio", MediaKind::Audio)]);
    let codec = match kind {
        FragmentKind::Source => None,
        FragmentKind::Encoder | FragmentKind::Output => root.need_text::<Codec>("codec"),
    };
    let rank = root.integer("rank", 0..=10_000).unwrap_or(0);
    let exclusive = root.boolean("exclusive").unwrap_or(false);
    let smallest = root.text("smallest");
    let even = root.boolean("even").unwrap_or(false);
    let requires = root.get("requires").and_then(|item| conditions(&item)).unwrap_or_default();
    let packages = root.table("packages").map(packages).unwrap_or_default();
    let hardware = root.string("hardware", "an NVIDIA GPU and its driver").map(str::to_owned);
    let forbidden = root.table("forbidden").map(forbidden).unwrap_or_default();
    let formats = root.get("formats").and_then(|item| item.strings("I420"));
    if kind == FragmentKind::Encoder && formats.as_ref().is_none_or(Vec::is_empty) {
        root.lacks("formats", "formats = [\"I420\"]");
    }
    let modes = root.table("modes").map(modes).unwrap_or_default();
    let elements = elements(&mut root, kind);
    let (bitrate, keyframe) = root.table("control").map(control).unwrap_or_default();

    Some(Fragment {
        name: name.to_owned(),
        file: source.name().to_owned(),
        source,
        summary: summary?,
        kind,
        codec,
        media: codec.map(Codec::kind).or(media).unwrap_or(MediaKind::Video),
        rank,
        requires,
        packages,
        hardware,
        forbidden,
        exclusive,
        formats: formats.unwrap_or_default().into_iter().map(str::to_owned).collect(),
        smallest,
        even,
        modes,
        elements,
        bitrate,
        keyframe,
    })
}

fn packages(mut table: Table<'_>) -> BTreeMap<String, String> {
    let entry =
        |item: Item<'_>| Some((item.key().to_owned(), item.string("gstreamer1.0-plugins-good")?.to_owned()));
    table.entries().into_iter().filter_map(entry).collect()
}

fn forbidden(mut table: Table<'_>) -> BTreeMap<String, String> {
    let entry = |item: Item<'_>| {
        Some((item.key().to_owned(), item.string("B-frames would hold every picture back")?.to_owned()))
    };
    table.entries().into_iter().filter_map(entry).collect()
}

fn modes(mut table: Table<'_>) -> Vec<SourceFormat> {
    let entry = |item: Item<'_>| {
        let fourcc = item.key().to_owned();
        if !item.is_table() {
            let caps = item.string("video/x-raw,format=NV12")?.to_owned();
            return Some(SourceFormat { fourcc, caps, when: Vec::new() });
        }
        let mut table = item.table()?;
        let caps = table.need_string("caps", "video/x-raw,format=NV12").map(str::to_owned);
        let when = table.get("when").and_then(|item| conditions(&item)).unwrap_or_default();
        Some(SourceFormat { fourcc, caps: caps?, when })
    };
    table.entries().into_iter().filter_map(entry).collect()
}

fn elements(root: &mut Table<'_>, kind: FragmentKind) -> Vec<ElementPart> {
    let heart = match kind {
        FragmentKind::Source => Role::Source,
        FragmentKind::Encoder => Role::Encoder,
        FragmentKind::Output => Role::Payloader,
    };
    let elements: Vec<ElementPart> = root.tables("element").into_iter().filter_map(element).collect();
    if !elements.iter().any(|element| element.role == heart) {
        let word = heart.as_str();
        root.complain(
            Complaint::new(format!("no element has the role `{word}`"))
                .hint(format!("add `role = \"{word}\"` to the `[[element]]` that is the {word}")),
        );
    }
    elements
}

fn element(mut table: Table<'_>) -> Option<ElementPart> {
    let mut factories = table.need("factory", "factory = \"x264enc\"").and_then(|item| factories(&item));
    let role = table.word("role", "role", &ROLES.map(|role| (role.as_str(), role))).unwrap_or(Role::Plain);
    let when = table.get("when").and_then(|item| conditions(&item)).unwrap_or_default();
    let properties = table.table("properties").map(properties).unwrap_or_default();
    let instead = factories.as_mut().map(|all| all.split_off(1)).unwrap_or_default();
    Some(ElementPart { factory: factories?.pop()?, instead, role, when, properties })
}

/// `"x264enc"`, or several of which the first is taken that is there: `["vah264enc", "vah264lpenc"]`.
fn factories(item: &Item<'_>) -> Option<Vec<String>> {
    let names = match item.is_list() {
        true => item.strings("x264enc")?,
        false => vec![item.string("x264enc")?],
    };
    if names.is_empty() {
        item.complain(Complaint::new("the list is empty").hint("name an element, such as `x264enc`"));
        return None;
    }
    Some(names.into_iter().map(str::to_owned).collect())
}

fn properties(mut table: Table<'_>) -> Vec<(String, Term)> {
    let entry = |item: Item<'_>| Some((item.key().to_owned(), term(&item)?));
    table.entries().into_iter().filter_map(entry).collect()
}

/// A literal, or an inline table that says where the value comes from.
fn term(item: &Item<'_>) -> Option<Term> {
    if !item.is_table() {
        return item.literal().map(|literal| Term::Literal(literal.into()));
    }
    let mut table = item.table()?;
    if table.has("from") {
        from(item, table)
    } else if table.has("by") {
        by(item, table)
    } else if table.has("when") {
        let when = table.get("when").and_then(|item| conditions(&item));
        let then = table.need("then", "then = 1").and_then(|item| term(&item));
        let otherwise = table.get("else").map(|item| term(&item));
        Some(Term::When { when: when?, then: Box::new(then?), otherwise: otherwise.flatten().map(Box::new) })
    } else if table.has("text") {
        text(item, table)
    } else {
        // What is in it cannot be judged before this is cured.
        table.entries();
        item.complain(
            Complaint::new("a table as a value must have `from`, `by`, `when` or `text`")
                .hint("such as `{ from = \"bitrate\", unit = \"kbit/s\" }`"),
        );
        None
    }
}

fn from(item: &Item<'_>, mut table: Table<'_>) -> Option<Term> {
    let quantity = table.need_word(
        "from",
        "quantity",
        &[
            ("bitrate", Quantity::Bitrate),
            ("keyframe-interval", Quantity::KeyframeInterval),
            ("framerate", Quantity::Framerate),
            ("frame-time", Quantity::FrameTime),
            ("threads", Quantity::Threads),
            ("width", Quantity::Width),
            ("height", Quantity::Height),
            ("cores", Quantity::Cores),
            ("device", Quantity::Device),
            ("mode", Quantity::Mode),
        ],
    );
    let unit = table.get("unit");
    let times = table.get("times").and_then(|item| item.float(0.001..=1000.0)).unwrap_or(1.0);
    let add = table.integer("add", -1_000_000_000..=1_000_000_000).unwrap_or(0);
    let min = table.integer("min", i64::MIN..=i64::MAX);
    let max = table.integer("max", i64::MIN..=i64::MAX);
    let quantity = quantity?;
    let divisor = match (quantity, unit) {
        (Quantity::Bitrate, Some(unit)) => bitrate_unit(&unit)?,
        (Quantity::KeyframeInterval, Some(unit)) => unit.word("unit", &[("frames", 1)])?,
        (Quantity::Bitrate, None) => {
            item.complain(Complaint::new("a bitrate needs its unit").hint(
                "add `unit = \"bit/s\"`, `\"kbit/s\"` or `\"kibit/s\"`, whichever the property counts in",
            ));
            return None;
        }
        (_, Some(unit)) => {
            unit.complain_at_key(Complaint::new("only a bitrate or keyframe interval has a unit"));
            return None;
        }
        (_, None) => 1,
    };
    Some(Term::From { quantity, divisor, times, add, min, max })
}

/// Bits per unit. Some hardware drivers count 1024 bits.
fn bitrate_unit(item: &Item<'_>) -> Option<u64> {
    item.word("unit", &[("bit/s", 1), ("kbit/s", 1000), ("kibit/s", 1024)])
}

fn by(item: &Item<'_>, mut table: Table<'_>) -> Option<Term> {
    const AXES: [(&str, Option<Axis>); 4] = [
        ("speed", None),
        ("height", Some(Axis::Height)),
        ("load", Some(Axis::Load)),
        ("cores", Some(Axis::Cores)),
    ];
    let Some(axis) = table.need_word("by", "axis", &AXES)? else {
        let mut word =
            |key| table.need(key, &format!("{key} = 1")).and_then(|item| term(&item)).map(Box::new);
        let (fastest, realtime, quality) = (word("fastest"), word("realtime"), word("quality"));
        return Some(Term::BySpeed { fastest: fastest?, realtime: realtime?, quality: quality? });
    };
    let above = table.need("above", "above = 4").and_then(|item| term(&item));
    let mut steps: Vec<(u64, Term)> = Vec::new();
    for step in table.entries().into_iter().filter(|step| !["by", "above"].contains(&step.key())) {
        let Some(bound) = bound(axis, step.key()) else {
            let example = if axis == Axis::Load { "\"1280x720@30\"" } else { "\"720\"" };
            let complaint = Complaint::new(format!("`{}` is not a step of this axis", step.key()));
            step.complain_at_key(complaint.hint(format!("write a bound such as `{example} = 1`")));
            continue;
        };
        if let Some(value) = term(&step) {
            steps.push((bound, value));
        }
    }
    if steps.is_empty() {
        item.complain(Complaint::new("there is no step").hint("add one, such as `\"720\" = 1`"));
        return None;
    }
    steps.sort_by_key(|(bound, _)| *bound);
    Some(Term::By { axis, steps, above: Box::new(above?) })
}

fn bound(axis: Axis, text: &str) -> Option<u64> {
    match axis {
        Axis::Height | Axis::Cores => text.parse().ok(),
        Axis::Load => {
            let (size, rate) = text.split_once('@')?;
            Some(load(size.parse().ok()?, rate.parse().ok()?))
        }
    }
}

/// Pixels a second.
pub(super) fn load(size: FrameSize, framerate: Framerate) -> u64 {
    (size.pixels() * u64::from(framerate.numerator())).div_ceil(u64::from(framerate.denominator()))
}

fn text(item: &Item<'_>, mut table: Table<'_>) -> Option<Term> {
    let text = table.need_string("text", "video/x-h264,profile=main")?.to_owned();
    let parts: Vec<(String, Term)> = table
        .entries()
        .into_iter()
        .filter(|part| part.key() != "text")
        .filter_map(|part| Some((part.key().to_owned(), term(&part)?)))
        .collect();
    for (name, _) in &parts {
        if !text.contains(&format!("{{{name}}}")) {
            let complaint = Complaint::new(format!("`{name}` is not used in the text"));
            item.complain(complaint.hint(format!("write `{{{name}}}` where it goes")));
        }
    }
    Some(Term::Text { text, parts })
}

fn control(mut table: Table<'_>) -> (Option<BitratePart>, Option<Term>) {
    let bitrate = table.table("bitrate").and_then(|mut table| {
        let property = table.need_string("property", "bitrate").map(str::to_owned);
        let divisor = table.need("unit", "unit = \"kbit/s\"").and_then(|item| bitrate_unit(&item));
        let min = table.need_text::<Bitrate>("min");
        let max = table.need("max", "max = \"100 Mbit/s\"").and_then(|item| most(&item));
        let min_interval = table.text::<Duration>("min_interval").unwrap_or_default();
        let when = table.get("when").and_then(|item| conditions(&item)).unwrap_or_default();
        let text = table.get("text").and_then(|item| {
            let text = item.string("controls,video_bitrate={value}")?;
            if !text.contains("{value}") {
                let complaint = Complaint::new("the text does not say where the bitrate goes");
                item.complain(complaint.hint("write `{value}` there"));
            }
            Some(text.to_owned())
        });
        let (property, divisor) = (property?, divisor?);
        Some(BitratePart { when, text, property, divisor, min: min?, max: max?, min_interval })
    });
    let keyframe = table.get("keyframe").and_then(|item| {
        let term = term(&item)?;
        let words = term.literals();
        for word in words {
            if !matches!(word, Value::Text(text) if ["event", "restart"].contains(&text.as_str())) {
                item.complain(
                    Complaint::new("a keyframe is forced by `event` or by `restart`")
                        .hint("`event` unless the element ignores GstForceKeyUnit"),
                );
                return None;
            }
        }
        Some(term)
    });
    (bitrate, keyframe)
}

/// `"100 Mbit/s"`, or what the encoder was told at the start: `{ from = "bitrate", unit = "bit/s", times = 2 }`.
fn most(item: &Item<'_>) -> Option<Term> {
    if item.is_table() {
        return term(item);
    }
    let bits = item.text::<Bitrate>()?.bits();
    Some(Term::Literal(Value::Integer(i64::try_from(bits).unwrap_or(i64::MAX))))
}

/// `"gstreamer >= 1.24 and not interlaced"`
fn conditions(item: &Item<'_>) -> Option<Vec<Condition>> {
    item.read("gstreamer >= 1.24", |text| text.split(" and ").map(condition).collect())
}

fn condition(text: &str) -> Result<Condition, Complaint> {
    let text = text.trim();
    if let Some(rest) = text.strip_prefix("not ") {
        return condition(rest).map(|condition| Condition::Not(Box::new(condition)));
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        ["interlaced"] => Ok(Condition::Interlaced),
        ["compressed"] => Ok(Condition::Compressed),
        ["has", name] => Ok(match name.split_once('.') {
            Some((factory, property)) => Condition::HasProperty(factory.to_owned(), property.to_owned()),
            None => Condition::Has((*name).to_owned()),
        }),
        ["gstreamer", comparison, version] => {
            let comparison = match *comparison {
                "<" => Comparison::Below,
                "<=" => Comparison::AtMost,
                ">=" => Comparison::AtLeast,
                ">" => Comparison::Above,
                _ => {
                    return Err(Complaint::new(format!("`{comparison}` does not compare versions"))
                        .hint("use `<`, `<=`, `>=` or `>`"));
                }
            };
            Ok(Condition::Gstreamer(comparison, GstVersion::from_text(version)?))
        }
        _ => {
            let first = words.first().copied().unwrap_or_default();
            let hint = match nearest(first, ["gstreamer", "has", "interlaced", "compressed"]) {
                Some(meant) if meant != first => format!("did you mean `{meant}`?"),
                _ => {
                    "conditions are `gstreamer >= 1.24`, `has vapostproc`, `interlaced`, `compressed`, each \
                      with `not` before it, joined by `and`"
                        .to_owned()
                }
            };
            Err(Complaint::new(format!("`{text}` is not a condition")).hint(hint))
        }
    }
}

impl FromText for GstVersion {
    const EXAMPLE: &'static str = "1.24.5";

    fn from_text(text: &str) -> Result<Self, Complaint> {
        let parts: Result<Vec<u32>, _> = text.split('.').map(str::parse).collect();
        match parts.as_deref() {
            Ok([major, minor]) => Ok(GstVersion(*major, *minor, 0)),
            Ok([major, minor, micro]) => Ok(GstVersion(*major, *minor, *micro)),
            _ => Err(Complaint::new(format!("`{text}` is not a version")).hint("write `1.24` or `1.24.5`")),
        }
    }
}

impl From<PropertyLiteral> for Value {
    fn from(literal: PropertyLiteral) -> Value {
        match literal {
            PropertyLiteral::Bool(value) => Value::Bool(value),
            PropertyLiteral::Integer(value) => Value::Integer(value),
            PropertyLiteral::Float(value) => Value::Float(value),
            PropertyLiteral::Text(value) => Value::Text(value),
        }
    }
}

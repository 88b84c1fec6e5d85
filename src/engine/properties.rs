//! The one way from a plan's text to a GObject property. The bindings panic on a wrong name or type, and GObject clamps
//! or ignores what is out of range; so everything is checked here first.

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;

use crate::plan::Value;

/// A property that cannot be set as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{property}` of `{element}` ({factory}) cannot be {value}: {problem}")]
pub struct PropertyError {
    /// The node's id.
    pub element: String,
    /// Its factory.
    pub factory: String,
    /// The property.
    pub property: String,
    /// What was asked for, as text.
    pub value: String,
    /// What is wrong, and what would be right.
    pub problem: PropertyProblem,
}

/// What is wrong with a property or its value, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PropertyProblem {
    /// No such property.
    #[error("there is no such property{}", similar.as_ref().map(|name| format!(", only `{name}`")).unwrap_or_default())]
    Unknown {
        /// A name that is close to it.
        similar: Option<String>,
    },
    /// It can only be read.
    #[error("it can only be read")]
    ReadOnly,
    /// It can only be given when the element is made.
    #[error("it can only be set before the element is made")]
    ConstructOnly,
    /// It can be set, but not in the state the element is in.
    #[error("it cannot change while the graph is running")]
    NotNow,
    /// The value is of another type.
    #[error("it takes {expected}")]
    Type {
        /// In words: `an integer`, `true or false`, …
        expected: String,
    },
    /// The number is out of range.
    #[error("it takes {min} to {max}")]
    Range {
        /// Least.
        min: String,
        /// Most.
        max: String,
    },
    /// No such enum or flags nick.
    #[error("it takes {}{}", if *many { "any, joined by `+`, of " } else { "one of " }, quoted(nicks))]
    Nick {
        /// What there is.
        nicks: Vec<String>,
        /// Several may be joined.
        many: bool,
    },
    /// The text does not read as this type.
    #[error("that does not read as {expected}")]
    Unreadable {
        /// `caps`, `a fraction`, …
        expected: String,
    },
}

fn quoted(nicks: &[String]) -> String {
    nicks.iter().map(|nick| format!("`{nick}`")).collect::<Vec<_>>().join(", ")
}

/// Fits a plan's value to a property of an element type, before the element exists.
pub(super) fn fit(
    class: &glib::Class<glib::Object>,
    (element, factory): (&str, &str),
    property: &str,
    value: &Value,
) -> Result<glib::Value, Box<PropertyError>> {
    let refuse = |problem| {
        Box::new(PropertyError {
            element: element.to_owned(),
            factory: factory.to_owned(),
            property: property.to_owned(),
            value: describe(value),
            problem,
        })
    };
    let spec = class
        .find_property(property)
        .ok_or_else(|| refuse(PropertyProblem::Unknown { similar: similar(class, property) }))?;
    if !spec.flags().contains(glib::ParamFlags::WRITABLE) {
        return Err(refuse(PropertyProblem::ReadOnly));
    }
    convert(&spec, value).map_err(refuse)
}

/// Sets a property of a live element. `fit`'s checks, and that the property can be set in the element's state.
///
/// A property without any `GST_PARAM_MUTABLE` flag passes: many encoders change their bitrate while playing and do not
/// say so (`vp8enc`, `vp9enc`, `av1enc`).
pub(super) fn set_live(
    element: &gst::Element,
    property: &str,
    value: &Value,
) -> Result<(), Box<PropertyError>> {
    let factory = element.factory().map(|factory| factory.name().to_string()).unwrap_or_default();
    let name = element.name();
    let class = element.object_class();
    let fitted = fit(class, (&name, &factory), property, value)?;
    let refuse = |problem| {
        Box::new(PropertyError {
            element: name.to_string(),
            factory: factory.clone(),
            property: property.to_owned(),
            value: describe(value),
            problem,
        })
    };
    let flags = class.find_property(property).map_or(glib::ParamFlags::empty(), |spec| spec.flags());
    if flags.contains(glib::ParamFlags::CONSTRUCT_ONLY) {
        return Err(refuse(PropertyProblem::ConstructOnly));
    }
    let mutable_until = [
        (gst::PARAM_FLAG_MUTABLE_PLAYING, gst::State::Playing),
        (gst::PARAM_FLAG_MUTABLE_PAUSED, gst::State::Paused),
        (gst::PARAM_FLAG_MUTABLE_READY, gst::State::Ready),
    ]
    .into_iter()
    .find(|(flag, _)| flags.contains(*flag))
    .map_or(gst::State::Playing, |(_, state)| state);
    if element.current_state() > mutable_until {
        return Err(refuse(PropertyProblem::NotNow));
    }
    element.set_property_from_value(property, &fitted);
    Ok(())
}

fn describe(value: &Value) -> String {
    match value {
        Value::Bool(value) => format!("`{value}`"),
        Value::Integer(value) => format!("`{value}`"),
        Value::Float(value) => format!("`{value}`"),
        Value::Text(value) => format!("`{}`", value.chars().take(120).collect::<String>()),
    }
}

fn similar(class: &glib::Class<glib::Object>, property: &str) -> Option<String> {
    class
        .list_properties()
        .iter()
        .map(|spec| (strsim::damerau_levenshtein(spec.name(), property), spec.name().to_owned()))
        .filter(|(distance, _)| *distance <= 3)
        .min()
        .map(|(_, name)| name)
}

macro_rules! number {
    ($spec:expr, $spec_type:ty, $number:ty, $given:expr) => {
        if let Some(spec) = $spec.downcast_ref::<$spec_type>() {
            let (min, max) = (spec.minimum(), spec.maximum());
            return match <$number>::try_from($given) {
                Ok(value) if (min..=max).contains(&value) => Ok(value.to_value()),
                _ => Err(PropertyProblem::Range { min: min.to_string(), max: max.to_string() }),
            };
        }
    };
}

fn convert(spec: &glib::ParamSpec, value: &Value) -> Result<glib::Value, PropertyProblem> {
    let wrong_type = |expected: &str| PropertyProblem::Type { expected: expected.to_owned() };
    let kind = spec.value_type();
    if kind == glib::Type::BOOL {
        let Value::Bool(value) = value else { return Err(wrong_type("true or false")) };
        return Ok(value.to_value());
    }
    if is_integer(kind) {
        let Value::Integer(value) = *value else { return Err(wrong_type("an integer")) };
        number!(spec, glib::ParamSpecInt, i32, value);
        number!(spec, glib::ParamSpecUInt, u32, value);
        number!(spec, glib::ParamSpecInt64, i64, value);
        number!(spec, glib::ParamSpecUInt64, u64, value);
        number!(spec, glib::ParamSpecChar, i8, value);
        number!(spec, glib::ParamSpecUChar, u8, value);
        return Err(wrong_type("an integer of a kind Capcast does not set"));
    }
    if kind == glib::Type::F32 || kind == glib::Type::F64 {
        return float(spec, value);
    }
    let Value::Text(text) = value else {
        // An enum's numeric value is nothing that a person reads; its nick is.
        return Err(match nicks(kind) {
            Some((nicks, many)) => PropertyProblem::Nick { nicks, many },
            None => wrong_type(&words_for(kind)),
        });
    };
    if kind == glib::Type::STRING {
        return Ok(text.to_value());
    }
    if let Some(class) = glib::EnumClass::with_type(kind) {
        return class.to_value_by_nick(text).ok_or_else(|| unknown_nick(kind));
    }
    if let Some(class) = glib::FlagsClass::with_type(kind) {
        let mut flags = class.builder();
        for nick in text.split('+').map(str::trim).filter(|nick| !nick.is_empty()) {
            class.value_by_nick(nick).ok_or_else(|| unknown_nick(kind))?;
            flags = flags.set_by_nick(nick);
        }
        return flags.build().ok_or_else(|| unknown_nick(kind));
    }
    if kind.is_a(glib::Type::OBJECT) || kind == glib::Type::POINTER {
        return Err(wrong_type("an object, which a plan cannot give"));
    }
    let unreadable = || PropertyProblem::Unreadable { expected: words_for(kind) };
    let value = glib::Value::deserialize_with_pspec(text, spec).map_err(|_| unreadable())?;
    if let Some(spec) = spec.downcast_ref::<gst::ParamSpecFraction>() {
        let fraction = value.get::<gst::Fraction>().map_err(|_| unreadable())?;
        let (min, max) = (spec.minimum(), spec.maximum());
        if fraction < min || fraction > max {
            return Err(PropertyProblem::Range { min: min.to_string(), max: max.to_string() });
        }
    }
    Ok(value)
}

fn is_integer(kind: glib::Type) -> bool {
    use glib::Type;
    [Type::I32, Type::U32, Type::I64, Type::U64, Type::I8, Type::U8, Type::I_LONG, Type::U_LONG]
        .contains(&kind)
}

fn float(spec: &glib::ParamSpec, value: &Value) -> Result<glib::Value, PropertyProblem> {
    let given = match *value {
        Value::Float(value) => value,
        Value::Integer(value) => value as f64,
        _ => return Err(PropertyProblem::Type { expected: "a number".to_owned() }),
    };
    if let Some(spec) = spec.downcast_ref::<glib::ParamSpecFloat>() {
        let (min, max) = (spec.minimum(), spec.maximum());
        let within = given >= f64::from(min) && given <= f64::from(max);
        return within
            .then(|| (given as f32).to_value())
            .ok_or_else(|| PropertyProblem::Range { min: min.to_string(), max: max.to_string() });
    }
    if let Some(spec) = spec.downcast_ref::<glib::ParamSpecDouble>() {
        let (min, max) = (spec.minimum(), spec.maximum());
        let within = (min..=max).contains(&given);
        return within
            .then(|| given.to_value())
            .ok_or_else(|| PropertyProblem::Range { min: min.to_string(), max: max.to_string() });
    }
    Err(PropertyProblem::Type { expected: "a number of a kind Capcast does not set".to_owned() })
}

/// The nicks of an enum or flags type, and whether several may be joined.
pub(super) fn nicks(kind: glib::Type) -> Option<(Vec<String>, bool)> {
    if let Some(class) = glib::EnumClass::with_type(kind) {
        return Some((class.values().iter().map(|value| value.nick().to_owned()).collect(), false));
    }
    let class = glib::FlagsClass::with_type(kind)?;
    Some((class.values().iter().map(|value| value.nick().to_owned()).collect(), true))
}

fn unknown_nick(kind: glib::Type) -> PropertyProblem {
    let (nicks, many) = nicks(kind).unwrap_or_default();
    PropertyProblem::Nick { nicks, many }
}

fn words_for(kind: glib::Type) -> String {
    match kind.name() {
        "gchararray" => "text".to_owned(),
        "GstCaps" => "caps, such as `\"video/x-raw,format=I420\"`".to_owned(),
        "GstFraction" => "a fraction, such as `\"30/1\"`".to_owned(),
        "GstStructure" => "a structure, such as `\"name,field=(int)1\"`".to_owned(),
        other => format!("text that GStreamer reads as `{other}`"),
    }
}

//! From what a fragment writes to the value of one box and profile.

use super::fragment::{Axis, Comparison, Condition, Quantity, Term};
use super::fragment_file::load;
use super::{GstVersion, Inventory, Value};
use crate::config::Speed;
use crate::media::{Bitrate, FrameSize, Framerate};

/// Everything a term or condition may be taken from, for one graph.
#[derive(Clone, Debug)]
pub(super) struct Setting<'a> {
    pub(super) inventory: &'a Inventory,
    pub(super) bitrate: Bitrate,
    /// Frames from one keyframe to the next at most.
    pub(super) keyframe_interval: u32,
    /// Of the picture; 1080 lines are assumed where it is not known.
    pub(super) size: Option<FrameSize>,
    pub(super) framerate: Framerate,
    pub(super) speed: Speed,
    pub(super) device: &'a str,
    /// Caps of the capture mode.
    pub(super) mode: &'a str,
    pub(super) interlaced: bool,
    pub(super) compressed: bool,
}

impl Setting<'_> {
    /// The value, or nothing where the term says that the property is left alone.
    pub(super) fn value(&self, term: &Term) -> Option<Value> {
        match term {
            Term::Literal(value) => Some(value.clone()),
            Term::From { quantity, divisor, times, add, min, max } => {
                let number = match self.quantity(*quantity) {
                    Value::Integer(number) => number,
                    other => return Some(other),
                };
                let number = (number as f64 / *divisor as f64 * times).round() as i64;
                let number = number.saturating_add(*add).max(min.unwrap_or(i64::MIN));
                Some(Value::Integer(number.min(max.unwrap_or(i64::MAX))))
            }
            Term::By { axis, steps, above } => {
                let place = self.place(*axis);
                let step = steps.iter().find(|(bound, _)| place <= *bound).map(|(_, term)| term);
                self.value(step.unwrap_or(above))
            }
            Term::BySpeed { fastest, realtime, quality } => self.value(match self.speed {
                Speed::Fastest => fastest,
                Speed::Realtime => realtime,
                Speed::Quality => quality,
            }),
            Term::When { when, then, otherwise } => {
                match when.iter().all(|condition| self.holds(condition)) {
                    true => self.value(then),
                    false => otherwise.as_ref().and_then(|term| self.value(term)),
                }
            }
            Term::Text { text, parts } => {
                let filled = parts.iter().fold(text.clone(), |text, (name, term)| {
                    let value = self.value(term).map(|value| value.to_string()).unwrap_or_default();
                    text.replace(&format!("{{{name}}}"), &value)
                });
                Some(Value::Text(filled))
            }
        }
    }

    /// Whether a condition holds.
    pub(super) fn holds(&self, condition: &Condition) -> bool {
        match condition {
            Condition::Gstreamer(comparison, version) => {
                compare(self.inventory.gstreamer, *comparison, *version)
            }
            Condition::Has(factory) => self.inventory.elements.contains_key(factory),
            Condition::HasProperty(factory, property) => {
                let element = self.inventory.elements.get(factory);
                element.is_some_and(|element| element.properties.contains_key(property))
            }
            Condition::Interlaced => self.interlaced,
            Condition::Compressed => self.compressed,
            Condition::Not(condition) => !self.holds(condition),
        }
    }

    fn quantity(&self, quantity: Quantity) -> Value {
        let size = self.size_or_usual();
        Value::Integer(match quantity {
            Quantity::Bitrate => self.bitrate.bits() as i64,
            Quantity::KeyframeInterval => self.keyframe_interval.into(),
            Quantity::Threads => self.threads().into(),
            Quantity::Width => size.width.into(),
            Quantity::Height => size.height.into(),
            Quantity::Cores => self.inventory.cores.into(),
            Quantity::Framerate => return Value::Text(fraction(self.framerate)),
            Quantity::FrameTime => {
                let rate = self.framerate;
                return Value::Text(format!("{}/{}", rate.denominator(), rate.numerator()));
            }
            Quantity::Device => return Value::Text(self.device.to_owned()),
            Quantity::Mode => return Value::Text(self.mode.to_owned()),
        })
    }

    fn place(&self, axis: Axis) -> u64 {
        match axis {
            Axis::Height => self.size_or_usual().height.into(),
            Axis::Load => load(self.size_or_usual(), self.framerate),
            Axis::Cores => self.inventory.cores.into(),
        }
    }

    /// One for each 720p30 and a half, as far as there are cores, and no more than 8: beyond, threads wait for each other.
    fn threads(&self) -> u32 {
        let unit = load(FrameSize::new(1280, 720), THIRTY) * 3 / 2;
        let wanted = load(self.size_or_usual(), self.framerate).div_ceil(unit) as u32;
        (wanted + 1).min(self.inventory.cores.max(1)).min(8)
    }

    fn size_or_usual(&self) -> FrameSize {
        self.size.unwrap_or(FrameSize::new(1920, 1080))
    }
}

/// Thirty frames a second.
pub(super) const THIRTY: Framerate = match Framerate::new(30, 1) {
    Some(rate) => rate,
    None => unreachable!(),
};

/// As caps write it: `30/1`.
pub(super) fn fraction(rate: Framerate) -> String {
    format!("{}/{}", rate.numerator(), rate.denominator())
}

fn compare(here: GstVersion, comparison: Comparison, version: GstVersion) -> bool {
    match comparison {
        Comparison::Below => here < version,
        Comparison::AtMost => here <= version,
        Comparison::AtLeast => here >= version,
        Comparison::Above => here > version,
    }
}

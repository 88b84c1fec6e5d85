//! Values with units, as users write them: `"6 Mbit/s"`, `"1280x720"`, `"60000/1001"`, `"2 s"`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A value that could not be read. Its parts make a diagnostic: what was read, and what would have been right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitError {
    what: &'static str,
    found: String,
    expected: String,
}

impl UnitError {
    /// `what` is the kind of value ("bitrate"), `expected` a form that would be accepted, with an example.
    pub fn new(what: &'static str, found: &str, expected: impl Into<String>) -> Self {
        UnitError { what, found: found.chars().take(80).collect(), expected: expected.into() }
    }

    /// What would have been right, for a hint line.
    pub fn expected(&self) -> &str {
        &self.expected
    }

    /// The complaint alone, without the hint.
    pub fn complaint(&self) -> String {
        format!("`{}` is not a {}", self.found, self.what)
    }
}

impl fmt::Display for UnitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}", self.complaint(), self.expected)
    }
}

impl std::error::Error for UnitError {}

/// Bits per second. Written `"800 kbit/s"`, `"6 Mbit/s"`, `"2.5 Mbit/s"`, `"96000 bit/s"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bitrate(u64);

impl Bitrate {
    /// The most that can be written: 10 Gbit/s.
    pub const MAX: Bitrate = Bitrate(10_000_000_000);

    /// From bits per second.
    pub const fn from_bits(bits_per_second: u64) -> Self {
        Bitrate(bits_per_second)
    }

    /// Bits per second.
    pub const fn bits(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Bitrate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bits if bits >= 1_000_000 && bits % 1_000 == 0 => {
                write!(f, "{} Mbit/s", decimal(bits, 1_000_000))
            }
            bits if bits >= 1_000 => write!(f, "{} kbit/s", decimal(bits, 1_000)),
            bits => write!(f, "{bits} bit/s"),
        }
    }
}

impl FromStr for Bitrate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let error = || {
            UnitError::new("bitrate", text, "a number and a unit, such as `\"6 Mbit/s\"` or `\"800 kbit/s\"`")
        };
        let (number, unit) = split_unit(text).ok_or_else(error)?;
        let scale = match unit {
            "bit/s" => 1,
            "kbit/s" => 1_000,
            "Mbit/s" => 1_000_000,
            "Gbit/s" => 1_000_000_000,
            _ => return Err(error()),
        };
        match scaled(number, scale) {
            Some(bits) if (1..=Bitrate::MAX.0).contains(&bits) => Ok(Bitrate(bits)),
            Some(_) => Err(UnitError::new("bitrate", text, "more than 0 and at most `\"10 Gbit/s\"`")),
            None => Err(error()),
        }
    }
}

/// Room on a disk, in bytes. Written `"200 GB"`, `"1.5 TB"`, `"500 MB"`, in powers of ten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

impl ByteSize {
    /// From bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        ByteSize(bytes)
    }

    /// Bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ByteSize {
    /// With at most one decimal: people read it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = |unit: u64| decimal((self.0 / (unit / 10)).saturating_mul(unit / 10), unit);
        match self.0 {
            1_000_000_000_000.. => write!(f, "{} TB", tenths(1_000_000_000_000)),
            1_000_000_000.. => write!(f, "{} GB", tenths(1_000_000_000)),
            1_000_000.. => write!(f, "{} MB", tenths(1_000_000)),
            bytes => write!(f, "{} kB", decimal(bytes / 100 * 100, 1_000)),
        }
    }
}

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let error =
            || UnitError::new("size", text, "a number and a unit, such as `\"200 GB\"` or `\"1.5 TB\"`");
        let (number, unit) = split_unit(text).ok_or_else(error)?;
        let scale = match unit {
            "kB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "TB" => 1_000_000_000_000,
            _ => return Err(error()),
        };
        match scaled(number, scale) {
            Some(bytes) if bytes > 0 => Ok(ByteSize(bytes)),
            _ => Err(error()),
        }
    }
}

/// Width and height in pixels. Written `"1280x720"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameSize {
    /// Pixels across, even, 16 to 8192.
    pub width: u32,
    /// Pixels down, even, 16 to 8192.
    pub height: u32,
}

impl FrameSize {
    /// A size in pixels; not checked, for sizes that a device reports.
    pub const fn new(width: u32, height: u32) -> Self {
        FrameSize { width, height }
    }

    /// Pixels of one picture.
    pub const fn pixels(self) -> u64 {
        self.width as u64 * self.height as u64
    }
}

impl fmt::Display for FrameSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

impl FromStr for FrameSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let size = text.split_once('x').and_then(|(w, h)| Some(FrameSize::new(digits(w)?, digits(h)?)));
        let Some(size) = size else {
            return Err(UnitError::new(
                "frame size",
                text,
                "width x height in pixels, such as `\"1280x720\"`",
            ));
        };
        let fits = |side: u32| (16..=8192).contains(&side) && side.is_multiple_of(2);
        if fits(size.width) && fits(size.height) {
            Ok(size)
        } else {
            Err(UnitError::new("frame size", text, "even sides of 16 to 8192 pixels, such as `\"1280x720\"`"))
        }
    }
}

/// Frames per second as a fraction. Written `"60"` or `"60000/1001"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Framerate {
    numerator: u32,
    denominator: u32,
}

impl Framerate {
    /// A reduced fraction; `None` where a side is zero or the rate exceeds 1000.
    pub const fn new(numerator: u32, denominator: u32) -> Option<Self> {
        if numerator == 0 || denominator == 0 || numerator as u64 > 1000 * denominator as u64 {
            return None;
        }
        let divisor = gcd(numerator, denominator);
        Some(Framerate { numerator: numerator / divisor, denominator: denominator / divisor })
    }

    /// Frames per `denominator` seconds.
    pub const fn numerator(self) -> u32 {
        self.numerator
    }

    /// Seconds that `numerator` frames take.
    pub const fn denominator(self) -> u32 {
        self.denominator
    }

    /// Frames per second.
    pub fn as_f64(self) -> f64 {
        f64::from(self.numerator) / f64::from(self.denominator)
    }

    /// How long one frame lasts.
    pub fn frame_time(self) -> Duration {
        Duration::from_nanos(1_000_000_000 * u64::from(self.denominator) / u64::from(self.numerator))
    }

    /// Frames in `span`, rounded, at least 1.
    pub fn frames_in(self, span: Duration) -> u32 {
        ((span.as_secs_f64() * self.as_f64()).round() as u32).max(1)
    }
}

impl PartialOrd for Framerate {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Framerate {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let cross = |a: &Framerate, b: &Framerate| u64::from(a.numerator) * u64::from(b.denominator);
        cross(self, other).cmp(&cross(other, self))
    }
}

impl fmt::Display for Framerate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.denominator {
            1 => write!(f, "{}", self.numerator),
            _ => write!(f, "{}/{}", self.numerator, self.denominator),
        }
    }
}

impl FromStr for Framerate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let (numerator, denominator) = text.split_once('/').unwrap_or((text, "1"));
        digits(numerator).zip(digits(denominator)).and_then(|(n, d)| Framerate::new(n, d)).ok_or_else(|| {
            UnitError::new("frame rate", text, "`\"60\"` or a fraction such as `\"60000/1001\"`")
        })
    }
}

/// A signed span. Written `"0 ms"`, `"40 ms"`, `"-120 ms"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Delay {
    micros: i64,
}

impl Delay {
    /// From microseconds.
    pub const fn from_micros(micros: i64) -> Self {
        Delay { micros }
    }

    /// Microseconds, negative for "earlier".
    pub const fn as_micros(self) -> i64 {
        self.micros
    }
}

impl fmt::Display for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.micros < 0 { "-" } else { "" };
        write!(f, "{sign}{} ms", decimal(self.micros.unsigned_abs(), 1_000))
    }
}

impl FromStr for Delay {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let error = || {
            UnitError::new(
                "delay",
                text,
                "a number and a unit, such as `\"40 ms\"` or `\"-0.1 s\"`, up to 10 s",
            )
        };
        let (sign, span) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
        let span = parse_duration(span).map_err(|_| error())?;
        if span > Duration::from_secs(10) {
            return Err(error());
        }
        Ok(Delay { micros: sign * span.as_micros() as i64 })
    }
}

/// Reads a span of time: `"500 us"`, `"40 ms"`, `"2 s"`, `"1.5 s"`, `"10 min"`, `"1 h"`, `"7 d"`.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let error = || UnitError::new("duration", text, "a number and a unit, such as `\"2 s\"` or `\"500 ms\"`");
    let (number, unit) = split_unit(text).ok_or_else(error)?;
    let micros = match unit {
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        "min" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        _ => return Err(error()),
    };
    let micros = scaled(number, micros).ok_or_else(error)?;
    if micros > 1_000_000 * 3_600 * 24 * 366 {
        return Err(UnitError::new("duration", text, "at most a year"));
    }
    Ok(Duration::from_micros(micros))
}

/// `"6 Mbit/s"` → (`6`, `Mbit/s`): a number, blanks or none, a unit.
fn split_unit(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(end);
    (!number.is_empty()).then_some((number, unit.trim_start()))
}

/// A decimal number times `scale`, exactly; `None` if malformed, finer than one unit, or too large.
fn scaled(number: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let all_digits = |s: &str| !s.is_empty() && s.len() <= 18 && s.bytes().all(|b| b.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    let mut value = u128::from(whole.parse::<u64>().ok()?) * u128::from(scale);
    if !fraction.is_empty() {
        let part = u128::from(fraction.parse::<u64>().ok()?) * u128::from(scale);
        let divisor = 10u128.pow(fraction.len() as u32);
        if part % divisor != 0 {
            return None;
        }
        value += part / divisor;
    }
    value.try_into().ok()
}

fn digits(text: &str) -> Option<u32> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

/// `value / unit` without needless zeros: (1500, 1000) → `1.5`.
fn decimal(value: u64, unit: u64) -> String {
    let (whole, rest) = (value / unit, value % unit);
    if rest == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    format!("{whole}.{}", format!("{rest:0width$}").trim_end_matches('0'))
}

const fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn room_on_a_disk_is_read_exactly_and_told_shortly() {
        for (text, bytes) in [("200 GB", 200_000_000_000), ("1.5TB", 1_500_000_000_000), ("64 kB", 64_000)] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)));
        }
        for wrong in ["200", "200 G", "0 GB", "-1 GB", "1 GiB", "99999999999 TB"] {
            assert!(wrong.parse::<ByteSize>().is_err(), "{wrong}");
        }
        for (bytes, told) in [(999, "0.9 kB"), (1_234_567, "1.2 MB"), (200_000_000_000, "200 GB")] {
            assert_eq!(ByteSize(bytes).to_string(), told);
        }
    }

    #[test]
    fn bitrates_are_read_exactly() {
        for (text, bits) in [
            ("6 Mbit/s", 6_000_000),
            ("2.5 Mbit/s", 2_500_000),
            ("800kbit/s", 800_000),
            ("96000 bit/s", 96_000),
        ] {
            assert_eq!(text.parse(), Ok(Bitrate(bits)), "{text}");
        }
        for bad in [
            "",
            "6",
            "6 mbit/s",
            "6 MB/s",
            "-1 kbit/s",
            "0 bit/s",
            "0.5 bit/s",
            "11 Gbit/s",
            "1e3 bit/s",
            "1..2 bit/s",
        ] {
            assert!(bad.parse::<Bitrate>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn sizes_must_be_even_and_sane() {
        assert_eq!("1280x720".parse(), Ok(FrameSize::new(1280, 720)));
        for bad in ["1280", "1280x", "x720", "1281x720", "0x0", "8194x16", "1280×720", "1280 x 720", "+16x16"]
        {
            assert!(bad.parse::<FrameSize>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn rates_are_reduced_and_ordered() {
        let rate = |text: &str| text.parse::<Framerate>().unwrap();
        assert_eq!(rate("60/2"), rate("30"));
        assert!(rate("30000/1001") < rate("30"));
        assert_eq!(rate("60000/1001").to_string(), "60000/1001");
        assert_eq!(rate("30").frames_in(Duration::from_secs(2)), 60);
        for bad in ["", "0", "60/0", "60fps", "1001", "-1"] {
            assert!(bad.parse::<Framerate>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn delays_may_be_negative() {
        assert_eq!("-120 ms".parse(), Ok(Delay::from_micros(-120_000)));
        assert_eq!(Delay::from_micros(-1_500).to_string(), "-1.5 ms");
        assert!("--1 ms".parse::<Delay>().is_err());
        assert!("11 s".parse::<Delay>().is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(bits in 1..=Bitrate::MAX.0, n in 1u32..60_000, d in 1u32..2_000, micros in -10_000_000i64..=10_000_000) {
            let rate = Bitrate(bits);
            prop_assert_eq!(rate.to_string().parse(), Ok(rate));
            if let Some(rate) = Framerate::new(n, d) {
                prop_assert_eq!(rate.to_string().parse(), Ok(rate));
            }
            let delay = Delay::from_micros(micros);
            prop_assert_eq!(delay.to_string().parse(), Ok(delay));
        }

        #[test]
        fn garbage_never_panics(text in "\\PC{0,24}") {
            let _ = text.parse::<Bitrate>();
            let _ = text.parse::<FrameSize>();
            let _ = text.parse::<Framerate>();
            let _ = text.parse::<Delay>();
            let _ = parse_duration(&text);
        }
    }
}

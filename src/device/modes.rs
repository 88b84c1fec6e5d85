//! From what drivers enumerate to modes one can choose from.

use crate::media::{FrameSize, Framerate};
use crate::plan::{Rates, VideoMode};

/// Sizes that sources have; of a range, those within are offered.
const USUAL: [(u32, u32); 12] = [
    (3840, 2160),
    (2560, 1440),
    (1920, 1200),
    (1920, 1080),
    (1280, 1024),
    (1280, 720),
    (1024, 768),
    (800, 600),
    (720, 576),
    (720, 480),
    (640, 480),
    (640, 360),
];

/// One answer of `VIDIOC_ENUM_FRAMESIZES`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sizes {
    One(FrameSize),
    /// Least, most and step, of width and height.
    Range {
        least: FrameSize,
        most: FrameSize,
        step: FrameSize,
    },
}

/// One answer of `VIDIOC_ENUM_FRAMEINTERVALS`: seconds per frame, as fractions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interval {
    One(u32, u32),
    /// Shortest and longest.
    Range((u32, u32), (u32, u32)),
}

/// Single sizes as they are; of a range its largest and the usual ones within that its step allows. Largest first.
pub(super) fn sizes(enumerated: &[Sizes]) -> Vec<FrameSize> {
    let mut all = Vec::new();
    for sizes in enumerated {
        match *sizes {
            Sizes::One(size) => all.push(size),
            Sizes::Range { least, most, step } => {
                let fits = |side: u32, least: u32, most: u32, step: u32| {
                    (least..=most).contains(&side) && (side - least).is_multiple_of(step.max(1))
                };
                let usual = USUAL.map(|(width, height)| FrameSize::new(width, height)).into_iter();
                all.push(most);
                all.extend(usual.filter(|size| {
                    fits(size.width, least.width, most.width, step.width)
                        && fits(size.height, least.height, most.height, step.height)
                }));
            }
        }
    }
    all.retain(|size| size.width > 0 && size.height > 0);
    all.sort_by_key(|size| std::cmp::Reverse((size.pixels(), size.width)));
    all.dedup();
    all
}

/// Intervals turned into rates; a device that enumerates a range beside single rates is taken at its range.
pub(super) fn rates(enumerated: &[Interval]) -> Rates {
    let rate = |(seconds, per): (u32, u32)| Framerate::new(per, seconds);
    let mut list = Vec::new();
    for interval in enumerated {
        match *interval {
            Interval::One(seconds, per) => list.extend(rate((seconds, per))),
            Interval::Range(shortest, longest) => {
                if let (Some(max), Some(min)) = (rate(shortest), rate(longest)) {
                    return if min == max { Rates::List(vec![max]) } else { Rates::Range { min, max } };
                }
            }
        }
    }
    list.sort_by(|a, b| b.as_f64().total_cmp(&a.as_f64()));
    list.dedup();
    Rates::List(list)
}

/// The same modes gathered for reading: one row per size and rates, with the formats that offer it.
pub(super) fn rows(modes: &[VideoMode]) -> Vec<(FrameSize, &Rates, bool, Vec<&str>)> {
    let mut rows: Vec<(FrameSize, &Rates, bool, Vec<&str>)> = Vec::new();
    for mode in modes {
        let same = |row: &&mut (FrameSize, &Rates, bool, Vec<&str>)| {
            row.0 == mode.size && row.1 == &mode.rates && row.2 == mode.interlaced
        };
        match rows.iter_mut().find(same) {
            Some(row) => row.3.push(&mode.fourcc),
            None => rows.push((mode.size, &mode.rates, mode.interlaced, vec![&mode.fourcc])),
        }
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.0.pixels()));
    rows
}

/// "60, 50, 30" or "5 to 60".
pub(super) fn rates_text(rates: &Rates) -> String {
    match rates {
        Rates::List(list) if list.is_empty() => "unknown rate".to_owned(),
        Rates::List(list) => list.iter().map(Framerate::to_string).collect::<Vec<_>>().join(", "),
        Rates::Range { min, max } => format!("{min} to {max}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(width: u32, height: u32) -> FrameSize {
        FrameSize::new(width, height)
    }

    fn list(rates: &[(u32, u32)]) -> Rates {
        Rates::List(rates.iter().filter_map(|&(n, d)| Framerate::new(n, d)).collect())
    }

    #[test]
    fn a_usb_card_as_it_enumerates() {
        // MS2109, `v4l2-ctl --list-formats-ext`.
        let enumerated =
            [size(1920, 1080), size(1600, 1200), size(1360, 768), size(1920, 1080)].map(Sizes::One);
        assert_eq!(sizes(&enumerated), [size(1920, 1080), size(1600, 1200), size(1360, 768)]);
        let intervals = [Interval::One(1, 25), Interval::One(1, 60), Interval::One(333_333, 10_000_000)];
        assert_eq!(rates(&intervals), list(&[(60, 1), (10_000_000, 333_333), (25, 1)]));
    }

    #[test]
    fn ranges_give_their_largest_and_the_usual_sizes_within() {
        let range = Sizes::Range { least: size(32, 32), most: size(1928, 1208), step: size(8, 8) };
        let found = sizes(&[range]);
        assert_eq!(found.first(), Some(&size(1928, 1208)));
        assert!(found.contains(&size(1280, 720)) && found.contains(&size(1920, 1080)));
        assert!(!found.contains(&size(3840, 2160)), "beyond the range");
        // A step of 0 is what a continuous range has in some drivers.
        let range = Sizes::Range { least: size(0, 0), most: size(641, 480), step: size(0, 0) };
        assert_eq!(sizes(&[range]), [size(641, 480), size(640, 480), size(640, 360)]);
        assert_eq!(sizes(&[Sizes::One(size(0, 0))]), []);
    }

    #[test]
    fn ranges_of_intervals_are_ranges_of_rates() {
        let (slow, fast) = (Framerate::new(5, 1).unwrap(), Framerate::new(60, 1).unwrap());
        assert_eq!(rates(&[Interval::Range((1, 60), (1, 5))]), Rates::Range { min: slow, max: fast });
        assert_eq!(rates(&[Interval::Range((1, 60), (1, 60))]), list(&[(60, 1)]));
        // Nonsense is left out, not passed on.
        assert_eq!(
            rates(&[Interval::One(0, 30), Interval::One(1, 0), Interval::Range((0, 0), (0, 0))]),
            list(&[])
        );
    }

    #[test]
    fn modes_that_differ_in_format_only_share_a_row() {
        let mode = |fourcc: &str, rates| VideoMode {
            fourcc: fourcc.to_owned(),
            size: size(1280, 720),
            rates,
            interlaced: false,
        };
        let modes = [
            mode("NV12", list(&[(60, 1), (30, 1)])),
            mode("YUYV", list(&[(60, 1), (30, 1)])),
            mode("MJPG", list(&[(30, 1)])),
        ];
        let rows = rows(&modes);
        assert_eq!(rows.len(), 2);
        assert_eq!(
            (rows[0].3.as_slice(), rates_text(rows[0].1).as_str()),
            (["NV12", "YUYV"].as_slice(), "60, 30")
        );
        assert_eq!(rates_text(rows[1].1), "30");
    }
}

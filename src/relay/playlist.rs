//! A playlist's text to what is fetched of it (RFC 8216).

use std::time::Duration;

use m3u8_rs::{KeyMethod, Playlist as Read};

use super::Trouble;

/// How playlists begin.
pub(super) const MAGIC: &[u8] = b"#EXTM3U";

/// Target durations outside of this are not believed.
const TARGETS: std::ops::RangeInclusive<Duration> = Duration::from_millis(500)..=Duration::from_secs(60);

/// No more segments than this are looked at: a day in pieces of four seconds.
const MOST: usize = 21_600;

/// What a playlist says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Playlist {
    /// Where others are: the address of the one to take.
    Master {
        uri: String,
        /// Its sound is in a playlist of its own, which is not read.
        sound_apart: bool,
    },
    Media(List),
}

/// Segments.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct List {
    pub(super) target: Duration,
    /// Number of the first segment.
    pub(super) first: u64,
    pub(super) segments: Vec<Entry>,
    /// There will be no more.
    pub(super) ended: bool,
}

impl List {
    /// The number that the next segment will have.
    pub(super) fn next(&self) -> u64 {
        self.first + self.segments.len() as u64
    }

    /// Where to begin a live one: three target durations from its end (RFC 8216, 6.3.3), or at its start.
    pub(super) fn live_edge(&self) -> u64 {
        let mut left = Duration::ZERO;
        for (at, entry) in self.segments.iter().enumerate().rev() {
            left += entry.duration;
            if left >= self.target * 3 {
                return self.first + at as u64;
            }
        }
        self.first
    }
}

/// One segment.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) uri: String,
    pub(super) duration: Duration,
    /// It does not continue the one before it.
    pub(super) discontinuity: bool,
    /// Its maker has none.
    pub(super) gap: bool,
    /// Only these bytes of its file, the last one included.
    pub(super) range: Option<(u64, u64)>,
}

/// Reads a playlist.
pub(super) fn read(text: &[u8]) -> Result<Playlist, Trouble> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    if !text.starts_with(MAGIC) {
        return Err(Trouble::Playlist("it does not begin with `#EXTM3U`"));
    }
    // The reader wants each line ended.
    let mut whole = text.to_vec();
    whole.push(b'\n');
    let (rest, playlist) =
        m3u8_rs::parse_playlist(&whole).map_err(|_| Trouble::Playlist("it is malformed"))?;
    if !rest.is_empty() {
        return Err(Trouble::Playlist("it is malformed"));
    }
    match playlist {
        Read::MasterPlaylist(master) => choose(&master),
        Read::MediaPlaylist(media) => list(media).map(Playlist::Media),
    }
}

/// The best variant that is likely to be decoded, else the best one.
fn choose(master: &m3u8_rs::MasterPlaylist) -> Result<Playlist, Trouble> {
    let pictures = || master.variants.iter().filter(|variant| !variant.is_i_frame && !variant.uri.is_empty());
    let fits = |variant: &&m3u8_rs::VariantStream| {
        let codecs = variant.codecs.as_deref().unwrap_or("avc1");
        let picture = |codec: &str| codec.trim().starts_with("avc1") || codec.trim().starts_with("avc3");
        codecs.split(',').any(picture)
    };
    let best = pictures().filter(fits).max_by_key(|variant| variant.bandwidth);
    let best = best.or_else(|| pictures().max_by_key(|variant| variant.bandwidth));
    let best = best.ok_or(Trouble::Playlist("it names no variant"))?;
    let apart = |group: &String| {
        master.alternatives.iter().any(|one| {
            one.media_type == m3u8_rs::AlternativeMediaType::Audio
                && one.group_id == *group
                && one.uri.is_some()
        })
    };
    Ok(Playlist::Master { uri: best.uri.clone(), sound_apart: best.audio.as_ref().is_some_and(apart) })
}

fn list(media: m3u8_rs::MediaPlaylist) -> Result<List, Trouble> {
    if media.i_frames_only {
        return Err(Trouble::Playlist("it has keyframes alone"));
    }
    let mut segments = Vec::new();
    // Where a range without an offset begins: where the one before it in the same file ended.
    let mut end = 0;
    let mut file = String::new();
    for segment in media.segments.into_iter().take(MOST) {
        // A tag that the reader did not understand stands with those unknown.
        let unread = |name: &str| segment.unknown_tags.iter().any(|tag| tag.tag == name);
        let plain =
            |tag: &m3u8_rs::ExtTag| tag.rest.as_deref().is_some_and(|rest| rest.contains("METHOD=NONE"));
        let mut unread_keys = segment.unknown_tags.iter().filter(|tag| tag.tag == "X-KEY");
        if segment.key.as_ref().is_some_and(|key| key.method != KeyMethod::None)
            || unread_keys.any(|key| !plain(key))
        {
            return Err(Trouble::Encrypted);
        }
        if segment.map.is_some() || unread("X-MAP") {
            return Err(Trouble::FragmentedMp4);
        }
        let range = match &segment.byte_range {
            None => None,
            Some(range) => {
                let before = if file == segment.uri { end } else { 0 };
                let first = range.offset.unwrap_or(before);
                let last = first.checked_add(range.length).filter(|_| range.length > 0);
                end = last.ok_or(Trouble::Playlist("a byte range is impossible"))?;
                Some((first, end - 1))
            }
        };
        file.clone_from(&segment.uri);
        segments.push(Entry {
            uri: segment.uri.clone(),
            duration: seconds(segment.duration),
            discontinuity: segment.discontinuity,
            gap: unread("X-GAP"),
            range,
        });
    }
    let longest = segments.iter().map(|entry| entry.duration).max().unwrap_or_default();
    let target = match media.target_duration {
        0 => longest,
        seconds => Duration::from_secs(seconds),
    };
    if media.media_sequence > u64::MAX - MOST as u64 {
        return Err(Trouble::Playlist("its numbers are impossible"));
    }
    let target = target.clamp(*TARGETS.start(), *TARGETS.end());
    Ok(List { target, first: media.media_sequence, segments, ended: media.end_list })
}

/// A duration as playlists have it, made sane.
fn seconds(duration: f32) -> Duration {
    Duration::try_from_secs_f32(duration).unwrap_or_default().min(*TARGETS.end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn media(text: &str) -> List {
        match read(text.as_bytes()) {
            Ok(Playlist::Media(list)) => list,
            other => panic!("{other:?}"),
        }
    }

    const LIVE: &str = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:7\n\
        #EXTINF:2.000,\n7.ts\n#EXTINF:2.0,\n8.ts\n#EXT-X-DISCONTINUITY\n#EXTINF:1.5,\n9.ts\n#EXT-X-GAP\n#EXTINF:2,\n10.ts";

    #[test]
    fn a_live_list_has_numbers_durations_gaps_and_an_edge() {
        let list = media(LIVE);
        assert_eq!((list.first, list.next(), list.ended), (7, 11, false));
        assert_eq!(list.target, Duration::from_secs(2));
        let short: Vec<_> = list.segments.iter().map(|s| (s.uri.as_str(), s.discontinuity, s.gap)).collect();
        assert_eq!(
            short,
            [("7.ts", false, false), ("8.ts", false, false), ("9.ts", true, false), ("10.ts", false, true)]
        );
        assert_eq!(list.segments[2].duration, Duration::from_millis(1500));
        assert_eq!(list.live_edge(), 7, "7.5 s are there, and six are kept");
        let windows = LIVE.replace('\n', "\r\n") + "\r\n#EXT-X-ENDLIST\r\n";
        let list = media(&windows);
        assert!(list.ended && list.segments.len() == 4, "{list:?}");
    }

    #[test]
    fn ranges_continue_within_a_file() {
        let list = media(
            "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n#EXT-X-BYTERANGE:100@0\na.ts\n#EXTINF:1,\n\
             #EXT-X-BYTERANGE:50\na.ts\n#EXTINF:1,\n#EXT-X-BYTERANGE:10\nb.ts\n",
        );
        let ranges: Vec<_> = list.segments.iter().map(|entry| entry.range).collect();
        assert_eq!(ranges, [Some((0, 99)), Some((100, 149)), Some((0, 9))]);
    }

    #[test]
    fn what_cannot_be_read_is_refused_in_words() {
        let with = |tag: &str| {
            read(
                format!("#EXTM3U\n#EXT-X-TARGETDURATION:2\n{tag}\n#EXTINF:2,\n1.ts\n#EXTINF:2,\n2.ts\n")
                    .as_bytes(),
            )
        };
        assert_eq!(with("#EXT-X-KEY:METHOD=AES-128,URI=\"k\",IV=0x1"), Err(Trouble::Encrypted));
        assert_eq!(with("#EXT-X-KEY:METHOD=AES-128,URI=\"k\""), Err(Trouble::Encrypted));
        assert_eq!(with("#EXT-X-MAP:URI=\"init.mp4\""), Err(Trouble::FragmentedMp4));
        assert!(with("#EXT-X-KEY:METHOD=NONE").is_ok());
        for (text, words) in [
            (&b"<html>"[..], "begin"),
            (b"", "begin"),
            (b"#EXTM3U\n#EXTINF:2,\n\xff\xfe\n", "malformed"),
            (b"#EXTM3U\n#EXT-X-I-FRAMES-ONLY\n#EXTINF:2,\n1.ts\n", "keyframes"),
            (b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n", "variant"),
            (b"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:18446744073709551615\n#EXTINF:2,\n1.ts\n", "impossible"),
        ] {
            let told = read(text).expect_err(words).to_string();
            assert!(told.contains(words), "{told}");
        }
    }

    #[test]
    fn the_best_variant_that_decodes_is_taken() {
        let master = "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"en\",URI=\"a.m3u8\"\n\
            #EXT-X-STREAM-INF:BANDWIDTH=9000000,CODECS=\"hvc1.2,mp4a.40.2\"\nhevc.m3u8\n\
            #EXT-X-STREAM-INF:BANDWIDTH=1000000,CODECS=\"avc1.4d,mp4a.40.2\"\nlow.m3u8\n\
            #EXT-X-STREAM-INF:BANDWIDTH=3000000,CODECS=\"mp4a.40.2,avc1.4d\",AUDIO=\"a\"\nhigh.m3u8\n\
            #EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=99000000,URI=\"i.m3u8\"\n";
        let chosen = read(master.as_bytes()).unwrap();
        assert_eq!(chosen, Playlist::Master { uri: "high.m3u8".into(), sound_apart: true });
        let only = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=9,CODECS=\"hvc1\"\nx.m3u8\n";
        assert!(matches!(read(only.as_bytes()), Ok(Playlist::Master { uri, .. }) if uri == "x.m3u8"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_the_reader(mut text in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            text.splice(..0, *b"#EXTM3U\n#EXTINF:1,\n");
            let _ = read(&text);
        }
    }
}

//! What holds for every text.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;

use super::parse::{Document, FromText, Override};
use super::*;
use crate::media::{
    Bitrate, ByteSize, Codec, Delay, FrameSize, Framerate, SrtMode, SrtPeer, StreamName, TsSound,
};

fn set(file: &str, overrides: &[&str]) -> (Option<BoxConfig>, Diagnostics) {
    let overrides: Vec<Override> = overrides.iter().map(|text| Override::new(text)).collect();
    parse_box_with(Source::new("capcast.toml", file), &overrides, None)
}

#[test]
fn the_empty_file_is_the_default() {
    let (config, diagnostics) = parse_box("capcast.toml", "");
    assert!(diagnostics.is_empty(), "{}", diagnostics.render(Look::PLAIN));
    assert_eq!(config, Some(BoxConfig::default()));
}

#[test]
fn every_key_of_the_interface_is_read() {
    let (config, diagnostics) = parse_box(
        "capcast.toml",
        r#"
        profile = "vp9-720p60"
        [capture]
        video = "usb-Elgato_Cam_Link_4K-video-index0"
        mode = "1920x1080@60000/1001"
        audio = "hw:CARD=Capture"
        audio_delay = "-40 ms"
        no_signal = "stop"
        [[output]]
        name = "server"
        kind = "whip"
        url = "https://b.example.org/api/whip"
        token_file = "/etc/capcast/b.key"
        adaptive = true
        ice_servers = ["turn:turn.example.org:3478"]
        ice_credential_file = "credential:turn"
        [[output]]
        name = "disk"
        kind = "record"
        path = "/srv/{stream}-{time}"
        segment = "1 h"
        keep = "7 d"
        max_size = "200 GB"
        [[output]]
        name = "relay"
        kind = "srt"
        url = "srt://[2001:db8::1]:9000?mode=caller&latency=200&passphrase_file=credential:srt"
        audio = "aac"
        [[output]]
        name = "tunnel"
        kind = "trickle"
        url = "http://127.0.0.1:2939/live"
        [sfu]
        enabled = false
        stream = "show"
        media = "192.0.2.1:9000"
        public_addresses = ["203.0.113.5", "2001:db8::5"]
        max_viewers = 7
        ice_servers = ["stun:stun.example.org:3478", "turn:turn.example.org?transport=udp"]
        replace_publisher = false
        publisher = [{ stream = "obs", key_file = "credential:obs" }]
        [[sfu.view]]
        stream = "obs"
        key_file = "/etc/capcast/view.key"
        [sfu.jwt]
        secret_file = "/etc/capcast/jwt.key"
        [sfu.webhook]
        url = "https://auth.example.org/capcast"
        timeout = "500 ms"
        [http]
        listen = "127.0.0.1:80"
        control_token_file = "/etc/capcast/control.token"
        tls_certificate = "/etc/capcast/tls.pem"
        tls_key = "/etc/capcast/tls.key"
        "#,
    );
    assert!(diagnostics.is_empty(), "{}", diagnostics.render(Look::PLAIN));
    let file = |path: &str| SecretSource::File(PathBuf::from(path));
    let credential = |name: &str| SecretSource::Credential(name.to_owned());
    let name = |text: &str| text.parse::<StreamName>().unwrap();
    let output = |name: &str, kind, url: &str| OutputConfig {
        name: name.to_owned(),
        kind,
        url: Some(url.to_owned()),
        url_file: None,
        srt: None,
        recording: None,
        token: None,
        adaptive: false,
        sound: TsSound::Opus,
        ice_servers: Vec::new(),
        ice_credential: None,
    };
    let expected = BoxConfig {
        profile: ProfileChoice::Named("vp9-720p60".to_owned()),
        capture: CaptureConfig {
            video: VideoInput::ById("usb-Elgato_Cam_Link_4K-video-index0".to_owned()),
            mode: CaptureMode::Fixed(FrameSize::new(1920, 1080), Framerate::new(60000, 1001)),
            passthrough: false,
            audio: AudioInput::Alsa("hw:CARD=Capture".to_owned()),
            audio_delay: Delay::from_micros(-40_000),
            no_signal: NoSignal::Stop,
        },
        outputs: vec![
            OutputConfig {
                token: Some(file("/etc/capcast/b.key")),
                adaptive: true,
                ice_servers: vec!["turn:turn.example.org:3478".to_owned()],
                ice_credential: Some(SecretSource::Credential("turn".to_owned())),
                ..output("server", OutputKind::Whip, "https://b.example.org/api/whip")
            },
            OutputConfig {
                url: None,
                recording: Some(RecordingConfig {
                    path: "/srv/{stream}-{time}.mkv".to_owned(),
                    segment: Some(Duration::from_secs(3_600)),
                    keep: Some(Duration::from_secs(7 * 86_400)),
                    max_size: Some(ByteSize::from_bytes(200_000_000_000)),
                }),
                ..output("disk", OutputKind::Record, "")
            },
            OutputConfig {
                url: None,
                srt: Some(SrtConfig {
                    peer: SrtPeer {
                        mode: SrtMode::Caller,
                        host: "2001:db8::1".to_owned(),
                        port: 9000,
                        latency: Duration::from_millis(200),
                        streamid: None,
                    },
                    passphrase: Some(credential("srt")),
                }),
                sound: TsSound::Aac,
                ..output("relay", OutputKind::Srt, "")
            },
            output("tunnel", OutputKind::Trickle, "http://127.0.0.1:2939/live"),
        ],
        sfu: SfuConfig {
            enabled: false,
            stream: name("show"),
            media: SocketAddr::from(([192, 0, 2, 1], 9000)),
            public_addresses: vec!["203.0.113.5".parse().unwrap(), "2001:db8::5".parse().unwrap()],
            max_viewers: 7,
            ice_servers: vec![
                "stun:stun.example.org:3478".to_owned(),
                "turn:turn.example.org?transport=udp".to_owned(),
            ],
            replace_publisher: false,
            publishers: vec![PublisherConfig { stream: name("obs"), key: credential("obs") }],
            views: vec![ViewConfig { stream: name("obs"), key: file("/etc/capcast/view.key") }],
            jwt: Some(JwtConfig::Hs256(file("/etc/capcast/jwt.key"))),
            webhook: Some(WebhookConfig {
                url: "https://auth.example.org/capcast".to_owned(),
                timeout: Duration::from_millis(500),
            }),
        },
        http: HttpConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 80)),
            control_token: Some(file("/etc/capcast/control.token")),
            tls: Some((PathBuf::from("/etc/capcast/tls.pem"), PathBuf::from("/etc/capcast/tls.key"))),
        },
    };
    assert_eq!(config, Some(expected));
}

#[test]
fn every_video_input_has_its_form() {
    for (text, input) in [
        ("auto", VideoInput::Auto),
        ("test", VideoInput::Test),
        ("/dev/video0", VideoInput::Device("/dev/video0".into())),
        ("/dev/v4l/by-id/usb-x-video-index0", VideoInput::Device("/dev/v4l/by-id/usb-x-video-index0".into())),
        ("pci-0000:01:00.0-video-index1", VideoInput::ById("pci-0000:01:00.0-video-index1".into())),
        ("file:/srv/a b.mp4", VideoInput::File("/srv/a b.mp4".into())),
        ("file:///srv/a.mp4", VideoInput::File("/srv/a.mp4".into())),
        ("https://camera/a.m3u8", VideoInput::Url { url: "https://camera/a.m3u8".into(), token: None }),
        (
            "https://example.org/live.m3u8",
            VideoInput::Url { url: "https://example.org/live.m3u8".into(), token: None },
        ),
    ] {
        let (config, diagnostics) = parse_box("c", &format!("[capture]\nvideo = \"{text}\"\n"));
        let video = config.map(|config| config.capture.video);
        assert_eq!(video, Some(input), "{}", diagnostics.render(Look::PLAIN));
    }
}

#[test]
fn a_short_profile_has_sensible_rest() {
    let text = "[video]\ncodec = \"vp9\"\nsize = \"source\"\nframerate = \"30\"\nbitrate = \"300 kbit/s\"\n";
    let (profile, diagnostics) = parse_profile("small", "small.toml", text);
    assert!(diagnostics.is_empty(), "{}", diagnostics.render(Look::PLAIN));
    let profile = profile.unwrap();
    assert_eq!(profile.name, "small");
    assert_eq!(profile.summary, "VP9 the source's size at 30, 300 kbit/s");
    assert_eq!(profile.video.min_bitrate, Bitrate::from_bits(300_000), "never above the bitrate");
    assert_eq!(profile.video.keyframe_interval, Duration::from_secs(2));
    assert_eq!(profile.video.encoder, EncoderChoice::Auto);
    assert_eq!(profile.video.speed, Speed::Realtime);
    assert_eq!(profile.audio, AudioProfile { codec: Codec::Opus, bitrate: Bitrate::from_bits(128_000) });
}

#[test]
fn overrides_lie_over_the_file() {
    let file = "profile = \"vp9\"\n[capture]\nvideo = \"auto\"\n[sfu]\nmax_viewers = 5\n";
    let (config, diagnostics) = set(
        file,
        &[
            "capture.video=test",
            "sfu.max_viewers = 9",
            "http.listen=[::1]:0",
            "capture.mode=1280x720@30",
            "sfu.public_addresses=[\"192.0.2.7\"]",
            "output=[{name=\"a\", kind=\"record\", path=\"/tmp/a.mkv\"}]",
            "profile=h264",
            "profile=\"av1\"",
        ],
    );
    let config = config.unwrap_or_else(|| panic!("{}", diagnostics.render(Look::PLAIN)));
    assert_eq!(config.capture.video, VideoInput::Test);
    assert_eq!(config.sfu.max_viewers, 9);
    assert_eq!(config.http.listen, "[::1]:0".parse().unwrap());
    assert_eq!(config.capture.mode, CaptureMode::Fixed(FrameSize::new(1280, 720), Framerate::new(30, 1)));
    assert_eq!(config.sfu.public_addresses.len(), 1);
    assert_eq!(config.outputs[0].name, "a");
    assert_eq!(config.profile, ProfileChoice::Named("av1".to_owned()), "the last one holds");
}

#[test]
fn wrong_overrides_are_reported_in_their_own_text() {
    for (text, place, words) in [
        ("capture.video=atuo", "--set capture.video:1:15", "did you mean `auto`"),
        ("capture.vidoe=test", "--set capture.vidoe:1:9", "did you mean `video`"),
        ("captur.video=test", "--set captur.video:1:1", "did you mean `capture`"),
        ("sfu.max_viewers=many", "--set sfu.max_viewers:1:17", "expected a whole number"),
        ("profile", "--set profile:1:1", "KEY=VALUE"),
        ("=x", "--set :1:1", "is not a key"),
        ("profile.x=1", "--set profile.x:1:1", "leads through a string"),
        ("output.server.url=x", "--set output.server.url:1:1", "leads through a list"),
        ("capture.video=a\u{1b}[2Jb", "--set capture.video:1:15", "\\u{1b}[2Jb"),
    ] {
        let file = "profile = \"auto\"\n[[output]]\nname = \"a\"\nkind = \"record\"\npath = \"/a.mkv\"\n";
        let (config, diagnostics) = set(file, &[text]);
        let report = diagnostics.render(Look::PLAIN);
        assert_eq!(config, None, "{text}");
        assert!(report.contains(&format!("--> {place}\n")) && report.contains(words), "{text}:\n{report}");
        assert!(!report.contains('\u{1b}'), "{report:?}");
    }
}

#[test]
fn nothing_is_asked_twice_of_a_broken_text() {
    let (_, diagnostics) = parse_profile("a", "a.toml", "[video]\ncodec = vp9\n");
    assert_eq!(diagnostics.iter().count(), 1, "{}", diagnostics.render(Look::PLAIN));
}

#[test]
fn enormous_nesting_is_refused_without_recursing() {
    for deep in [
        "[".repeat(300_000),
        format!("a={}", "[".repeat(300_000)),
        format!("a={}", "{a=".repeat(300_000)),
        format!("{}a=1", "a.".repeat(300_000)),
        format!("[{}a]", "a.".repeat(300_000)),
        format!("[[{}a]]", "a.".repeat(300_000)),
    ] {
        let (config, diagnostics) = parse_box("deep.toml", &deep);
        assert!(config.is_none() && diagnostics.iter().count() <= 51);
        assert!(diagnostics.render(Look::PLAIN).len() < 100_000);
    }
}

/// Texts that are nearly configuration, which find more than random ones.
fn nearly() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "profile",
        "[capture]",
        "[[output]]",
        "[sfu]",
        "[sfu.jwt]",
        "[[sfu.publisher]]",
        "[video]",
        "[audio]",
        "[[video.rendition]]",
        "[video.properties]",
        "video",
        "codec",
        "name",
        "kind",
        "url",
        "size",
        "bitrate",
        " = ",
        "=",
        ".",
        "\"",
        "'",
        "\"\"\"",
        "[",
        "]",
        "{",
        "}",
        ",",
        "\n",
        "\r\n",
        "\n",
        "\t",
        " ",
        "# ä",
        "\u{feff}",
        "1",
        "\"6 Mbit/s\"",
        "\"whip\"",
        "true",
        "ü",
        "🎤",
        "\\",
        "\u{0}",
        "\r",
        "1979-05-27",
        "0x",
        "-",
        "inf",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

fn sound(diagnostics: &Diagnostics, usable: bool) -> Result<(), TestCaseError> {
    prop_assert_eq!(usable, !diagnostics.has_errors());
    for diagnostic in diagnostics {
        for span in diagnostic.span.iter().chain(diagnostic.also.iter().map(|(span, _)| span)) {
            prop_assert!(diagnostic.source.text().get(span.clone()).is_some(), "{:?}", diagnostic);
        }
        prop_assert!(!diagnostic.message.is_empty() && !diagnostic.message.contains('\n'));
    }
    let report = diagnostics.render(Look::PLAIN);
    prop_assert_eq!(report.is_empty(), diagnostics.is_empty());
    prop_assert_eq!(diagnostics.to_json().as_array().map(Vec::len), Some(diagnostics.iter().count()));
    Ok(())
}

fn written(profile: &Profile) -> String {
    let video = &profile.video;
    let encoder = match &video.encoder {
        EncoderChoice::Auto => "\"auto\"".to_owned(),
        EncoderChoice::Listed(names) => format!("{names:?}"),
    };
    let size = match video.size {
        SizeChoice::Source => "source".to_owned(),
        SizeChoice::Fixed(size) => size.to_string(),
    };
    let speed = match video.speed {
        Speed::Fastest => "fastest",
        Speed::Realtime => "realtime",
        Speed::Quality => "quality",
    };
    let mut text = format!(
        "summary = {}\n[video]\ncodec = \"{}\"\nencoder = {encoder}\nsize = \"{size}\"\nframerate = \"{}\"\n\
         bitrate = \"{}\"\nmin_bitrate = \"{}\"\nkeyframe_interval = \"{} ms\"\nspeed = \"{speed}\"\n",
        toml::Value::String(profile.summary.clone()),
        video.codec,
        video.framerate,
        video.bitrate,
        video.min_bitrate,
        video.keyframe_interval.as_millis(),
    );
    text.push_str("[video.properties]\n");
    for (name, value) in &video.properties {
        let value = match value {
            PropertyLiteral::Bool(value) => value.to_string(),
            PropertyLiteral::Integer(value) => value.to_string(),
            PropertyLiteral::Float(value) => format!("{value:?}"),
            PropertyLiteral::Text(value) => toml::Value::String(value.clone()).to_string(),
        };
        text.push_str(&format!("{name} = {value}\n"));
    }
    for rendition in &video.renditions {
        let Rendition { size, bitrate } = rendition;
        text.push_str(&format!("[[video.rendition]]\nsize = \"{size}\"\nbitrate = \"{bitrate}\"\n"));
    }
    text.push_str(&format!("[audio]\ncodec = \"opus\"\nbitrate = \"{}\"\n", profile.audio.bitrate));
    text
}

fn profiles() -> impl Strategy<Value = Profile> {
    let literal = prop_oneof![
        any::<bool>().prop_map(PropertyLiteral::Bool),
        any::<i64>().prop_map(PropertyLiteral::Integer),
        (-1e12..1e12f64).prop_map(PropertyLiteral::Float),
        "\\PC{0,12}".prop_map(PropertyLiteral::Text),
    ];
    let properties = prop::collection::btree_map("[a-z][a-z0-9-]{0,12}", literal, 0..5);
    let encoder = prop_oneof![
        Just(EncoderChoice::Auto),
        prop::collection::vec("[a-z][a-z0-9]{4,9}", 1..4).prop_map(EncoderChoice::Listed),
    ];
    let speed = prop::sample::select(vec![Speed::Fastest, Speed::Realtime, Speed::Quality]);
    let video = (
        prop::sample::select(Codec::VIDEO.to_vec()),
        encoder,
        prop::option::of((50u32..4096, 50u32..4096)),
        (1u32..240_000, 1u32..1001),
        1_000_000u64..400_000_000,
        100u64..=60_000,
        speed,
        properties,
        0usize..3,
    );
    (".{0,40}", video, 6_000u64..=510_000).prop_filter_map("frame rate", |(summary, video, audio)| {
        let (codec, encoder, size, (n, d), bits, millis, speed, properties, renditions) = video;
        let framerate = Framerate::new(n, d).filter(|rate| (1.0..=240.0).contains(&rate.as_f64()))?;
        let size = size.map_or(SizeChoice::Source, |(w, h)| SizeChoice::Fixed(FrameSize::new(w * 2, h * 2)));
        let smaller = |index: usize| Rendition {
            size: FrameSize::new(16 + 2 * index as u32, 16),
            bitrate: Bitrate::from_bits(20_000 + index as u64),
        };
        Some(Profile {
            name: "p".to_owned(),
            summary,
            video: VideoProfile {
                codec,
                encoder,
                size,
                framerate,
                bitrate: Bitrate::from_bits(bits),
                min_bitrate: Bitrate::from_bits(bits / 2),
                keyframe_interval: Duration::from_millis(millis),
                speed,
                properties: properties.into_iter().collect(),
                renditions: (0..renditions).map(smaller).collect(),
            },
            audio: AudioProfile { codec: Codec::Opus, bitrate: Bitrate::from_bits(audio) },
        })
    })
}

proptest! {
    #[test]
    fn any_text_is_read_or_explained(text in prop_oneof!["\\PC{0,200}", nearly(), any::<String>()]) {
        let (config, diagnostics) = parse_box("any.toml", &text);
        sound(&diagnostics, config.is_some())?;
        let (profile, diagnostics) = parse_profile("any", "any.toml", &text);
        sound(&diagnostics, profile.is_some())?;
    }

    #[test]
    fn any_override_is_taken_or_explained(text in prop_oneof!["\\PC{0,60}", "(capture|sfu|output|profile)[.=\\[\\]a-z\"]{0,20}"]) {
        let (config, diagnostics) = set("[[output]]\nname = \"a\"\nkind = \"record\"\npath = \"/a.mkv\"\n", &[&text]);
        sound(&diagnostics, config.is_some())?;
    }

    /// A good file with one place damaged: most slips are near misses.
    #[test]
    fn damaged_files_are_read_or_explained(profile in profiles(), at in any::<prop::sample::Index>(), cut in 0usize..9, put in "\\PC{0,3}") {
        let mut text = written(&profile);
        let start = at.index(text.len() + 1);
        let start = (0..=start).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let end = (start + cut..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
        text.replace_range(start..end, &put);
        let (profile, diagnostics) = parse_profile("p", "p.toml", &text);
        sound(&diagnostics, profile.is_some())?;
    }

    #[test]
    fn a_written_profile_is_read_back(profile in profiles()) {
        let text = written(&profile);
        let (read, diagnostics) = parse_profile("p", "p.toml", &text);
        prop_assert!(diagnostics.is_empty(), "{}", diagnostics.render(Look::PLAIN));
        prop_assert_eq!(read, Some(profile));
    }

    #[test]
    fn what_a_hint_proposes_is_accepted(text in "[0-9]{1,4}(\\.[0-9])? ?(M|k|Mbps|kbit|fps|sec|p|x[0-9]{2,4})?") {
        fn follow<T: FromText>(text: &str) -> Result<(), TestCaseError> {
            let document = Document::parse(Source::new("t", &format!("v = \"{text}\"\n")), &[]);
            document.root().text::<T>("v");
            let (_, diagnostics) = document.finish(Some(()));
            for hint in diagnostics.iter().filter_map(|d| d.hint.as_deref()) {
                if let Some(meant) = hint.strip_prefix("did you mean `\"").and_then(|rest| rest.strip_suffix("\"`?")) {
                    prop_assert!(T::from_text(meant).is_ok(), "{} → {}", text, meant);
                }
            }
            Ok(())
        }
        follow::<Bitrate>(&text)?;
        follow::<FrameSize>(&text)?;
        follow::<Framerate>(&text)?;
        follow::<Duration>(&text)?;
    }
}

//! WHIP outputs over ways that are narrow, lossy or cut, to servers that answer badly at first, and for long.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::appliance::{Appliance, turn};
use crate::detour::{Detour, Mood, Spoil, own_address};
use crate::soak::wanted;
use crate::watcher::Watcher;
use crate::whip_out::{KEY, PATIENCE, PROFILE, keeps_the_secret, output, publishing};

fn port(text: &Value) -> u16 {
    text.as_u64().and_then(|port| port.try_into().ok()).unwrap()
}

fn is_live(state: &Value) -> bool {
    output(state, "one")["state"] == "live"
}

#[test]
fn a_narrow_way_brings_the_encoder_down_and_a_wide_one_up_again() {
    let _turn = turn();
    // Another box takes it: its SFU gives transport-wide feedback.
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, KEY).unwrap();
    let small = "summary = \"small\"\n[video]\ncodec = \"h264\"\nencoder = \"openh264\"\nsize = \"160x90\"\n\
                 framerate = \"5\"\nbitrate = \"100 kbit/s\"\n";
    let config = format!(
        "profile = \"small\"\n[capture]\nvideo = \"test\"\naudio = \"none\"\n\
         [[sfu.publisher]]\nstream = \"obs\"\nkey_file = {key:?}\n"
    );
    let server = Appliance::start_with_media("[::]:0", &config, &[("small", small)]);
    let detour = Detour::to(server.base.rsplit_once(':').unwrap().1.parse().unwrap());

    let profile = "summary = \"tried\"\n[video]\ncodec = \"h264\"\nencoder = \"x264\"\nsize = \"640x360\"\n\
                   framerate = \"30\"\nbitrate = \"1 Mbit/s\"\nmin_bitrate = \"150 kbit/s\"\n\
                   [audio]\ncodec = \"opus\"\nbitrate = \"32 kbit/s\"\n";
    let config = format!(
        "profile = \"tried\"\n[capture]\nvideo = \"test\"\naudio = \"test\"\n[[output]]\nname = \"one\"\n\
         kind = \"whip\"\nurl = \"{}\"\ntoken_file = {key:?}\nadaptive = true\n",
        detour.url()
    );
    let appliance = Appliance::start(&config, &[("tried", profile)]);
    // On a busy machine the first estimates may be low.
    let wide = |state: &Value| {
        let full = state["encode"]["target_bitrate_bps"] == 1_000_000;
        full && is_live(state) && output(state, "one")["bitrate_bps"].as_u64() > Some(500_000)
    };
    let state = appliance.until_state("it is live with all it asks for", PATIENCE, wide);
    println!("at first: {}", output(&state, "one")["estimate_bps"]);

    detour.narrow(400_000);
    let began = Instant::now();
    let state = appliance.until_state("the encoder has followed", PATIENCE, |state| {
        let encode = &state["encode"];
        encode["target_bitrate_bps"].as_u64() < Some(400_000) && encode["limited_by"] == "one"
    });
    let (one, encode) = (output(&state, "one"), &state["encode"]);
    println!("down after {:?}: {} of {}", began.elapsed(), encode["target_bitrate_bps"], one["estimate_bps"]);
    assert_eq!(output(&state, "one")["limits"], true);
    assert!(state["encode"]["target_bitrate_bps"].as_u64() >= Some(150_000), "not below `min_bitrate`");
    let said = String::from_utf8_lossy(&appliance.cli(&["status"]).stdout).into_owned();
    assert!(said.contains("(kept down by output one)"), "{said}");
    let state = appliance.until_state("the way is no longer full", PATIENCE, |state| {
        is_live(state) && output(state, "one")["bitrate_bps"].as_u64() < Some(500_000)
    });
    println!("then: {} with {} lost", output(&state, "one")["bitrate_bps"], output(&state, "one")["loss"]);

    detour.narrow(0);
    let began = Instant::now();
    // From 150 kbit/s the estimate grows by 8 % a second at best, and falls again where the machine is busy.
    let state = appliance.until_state("the encoder is back", PATIENCE * 2, |state| {
        state["encode"]["target_bitrate_bps"] == 1_000_000
    });
    println!("back after {:?}", began.elapsed());
    assert_eq!((&output(&state, "one")["reconnects"], &state["encode"]["restarts"]), (&0.into(), &0.into()));
    keeps_the_secret(&appliance);
}

#[test]
fn lost_packets_are_sent_again_and_a_storm_of_requests_costs_few_keyframes() {
    let _turn = turn();
    let mut server = Watcher::whip_server(&["--frames", "60", "--plis", "40"]);
    let detour = Detour::to(port(&server.expect("listening", None, PATIENCE)));
    let (appliance, _key) = publishing(&[("one", detour.url())]);
    server.expect("frames", None, PATIENCE);
    let forced = |state: &Value| state["encode"]["keyframes_forced"].as_u64().unwrap();
    let before = appliance.until_state("it is live", PATIENCE, is_live);
    server.expect("asked", None, PATIENCE);
    let after = appliance.until_state("the requests are counted", PATIENCE, |state| {
        output(state, "one")["keyframe_requests"].as_u64() >= Some(30)
    });
    let uptime = |state: &Value| state["uptime_s"].as_f64().unwrap();
    let (count, span) = (forced(&after) - forced(&before), uptime(&after) - uptime(&before));
    println!("{} requests, {count} keyframes in {span:.1} s", output(&after, "one")["keyframe_requests"]);
    assert!(count >= 1 && count as f64 <= span / 0.5 + 1.0, "{count} keyframes in {span} s");

    detour.lose(50);
    let seen = server.expect("so_far", None, PATIENCE).as_u64().unwrap();
    let state = appliance.until_state("lost packets were sent again", PATIENCE, |state| {
        let one = output(state, "one");
        one["nacks"].as_u64() >= Some(10) && one["resent"].as_u64() >= Some(10)
    });
    while server.expect("so_far", None, PATIENCE).as_u64().unwrap() < seen + 90 {}
    let (carried, lost) = detour.packets();
    let one = output(&state, "one");
    println!("{lost} lost beside {carried}; {} asked for again, {} sent again", one["nacks"], one["resent"]);
    assert!(is_live(&state) && one["reconnects"] == 0, "{one}");

    // More than half is lost: what is sent again is no more than a share of what is sent.
    detour.lose(570);
    let number = |state: &Value, name: &str| output(state, "one")[name].as_u64().unwrap();
    let asked = number(&state, "nacks");
    let state = appliance.until_state("far more is asked for than may be sent", PATIENCE, |state| {
        number(state, "nacks") > asked + 3_000
    });
    let (carried, lost) = detour.packets();
    let (asked, resent) = (number(&state, "nacks"), number(&state, "resent"));
    println!("{lost} lost beside {carried}; {asked} asked for again, {resent} sent again");
    // A third of what was new, and one burst; reports count among the packets as well.
    assert!(resent <= (carried + lost - resent) / 3 + 100, "{resent} of {} packets", carried + lost);
}

#[test]
fn whatever_a_server_answers_at_first_the_stream_comes_at_last() {
    let _turn = turn();
    let mut server = Watcher::whip_server(&["--frames", "30"]);
    let detour = Detour::to(port(&server.expect("listening", None, PATIENCE)));
    let instead = |text: &str| Spoil::Instead(text.replace('\n', "\r\n"));
    detour.spoil([
        Spoil::Cut,
        instead("HTTP/1.1 503 Busy\nConnection: close\nContent-Length: 0\nRetry-After: 1\n\n"),
        instead(
            "HTTP/1.1 400 Bad Request\nConnection: close\nContent-Length: 26\n\nsession already has a host",
        ),
        instead(
            "HTTP/1.1 400 Bad Request\nConnection: close\nContent-Length: 26\n\nsession already has a host",
        ),
        instead("\u{1}garbage\n\n"),
        Spoil::Hops(3),
        Spoil::Late(Duration::from_secs(3)),
        Spoil::Nameless,
        Spoil::Absolute,
    ]);
    let (appliance, folder) = publishing(&[("one", detour.url())]);
    server.expect("frames", None, PATIENCE);
    let state = appliance.until_state("it is live", PATIENCE, is_live);
    for words in ["503", "still has a publisher for this key", "host busy", "backing off"] {
        appliance.until_logged(1, words);
    }
    println!("{} reconnects until it was live", output(&state, "one")["reconnects"]);
    // The one that was cut may have left a session, which nobody can name.
    let (posts, _) = detour.asked();
    assert_eq!(posts, 5 + 4, "five failures, three redirects and the one that worked");

    let again = |what: &str| {
        assert!(appliance.cli(&["output", "one", "stop"]).status.success(), "{what}");
        appliance.until_state(what, PATIENCE, |state| output(state, "one")["state"] == "stopped");
        let deletes = detour.asked().1;
        assert!(appliance.cli(&["output", "one", "start"]).status.success(), "{what}");
        appliance.until_state(what, PATIENCE, is_live);
        deletes
    };
    let first = again("a slow answer is waited for");
    let second = again("an answer without `Location` is taken");
    assert_eq!(second - first, 1, "the slow one was named");
    let third = again("an absolute `Location` is taken");
    assert_eq!(third, second, "there was nothing to DELETE by");

    // The key changes, and cannot be read any more.
    let key = folder.path().join("key");
    std::fs::write(&key, "another key").unwrap();
    assert_eq!(again("with another key") - third, 1, "the absolute one was found");
    while server.last()["bearer"] != "Bearer YW5vdGhlciBrZXk=" {
        server.expect("session", None, PATIENCE);
    }
    std::fs::remove_file(&key).unwrap();
    again("with the key as it was");
    appliance.until_logged(1, "going on with URL and key as they were");
    keeps_the_secret(&appliance);
}

#[test]
fn a_way_that_goes_dark_is_noticed_and_found_again() {
    let _turn = turn();
    let mut server = Watcher::whip_server(&["--frames", "60"]);
    let detour = Detour::to(port(&server.expect("listening", None, PATIENCE)));
    let (appliance, _key) = publishing(&[("one", detour.url())]);
    server.expect("frames", None, PATIENCE);
    let state = appliance.until_state("it is live", PATIENCE, is_live);
    let passed = state["streams"][0]["packets_in"].as_u64().unwrap();
    server.expect("so_far", None, PATIENCE);
    detour.darken(true);
    let began = Instant::now();
    let state = appliance.until_state("the darkness is noticed", PATIENCE, |state| !is_live(state));
    println!("noticed after {:?}: {}", began.elapsed(), output(&state, "one")["reason"]);
    appliance.until_state("it is said why", PATIENCE, |_| {
        let why = ["no report from the server", "media connection was lost"];
        appliance.log().iter().any(|line| why.iter().any(|words| line.contains(words)))
    });
    detour.darken(false);
    let began = Instant::now();
    let state = appliance.until_state("it is live again", PATIENCE, is_live);
    println!("found again after {:?}", began.elapsed());
    server.expect("frames", None, PATIENCE);
    assert!(output(&state, "one")["reconnects"].as_u64() >= Some(1));
    assert_eq!(state["encode"]["restarts"], 0);
    assert!(state["streams"][0]["packets_in"].as_u64().unwrap() > passed, "viewers here noticed nothing");
}

/// What HTTP says counts together with silence, and never without.
#[test]
fn a_session_that_the_server_forgot_is_made_anew_and_one_whose_http_fails_goes_on() {
    let _turn = turn();
    let mut server = Watcher::whip_server(&["--frames", "30"]);
    let detour = Detour::to(port(&server.expect("listening", None, PATIENCE)));
    let (appliance, _key) = publishing(&[("one", detour.url())]);
    server.expect("frames", None, PATIENCE);
    let asked = |count: u64, what: &str| {
        let state =
            appliance.until_state(what, PATIENCE, |state| is_live(state) && detour.questions() >= count);
        let one = output(&state, "one");
        assert_eq!(one["reconnects"], 0, "{what}: {one}");
    };
    asked(1, "it was asked what it knows");
    detour.answer(Mood::Mute);
    asked(2, "it does not answer");
    // Its reports tell by now how often they come.
    for _ in 0..3 {
        server.expect("so_far", None, PATIENCE);
    }
    detour.darken(true);
    detour.answer(Mood::Forgetful);
    let began = Instant::now();
    let state = appliance.until_state("it is lost", PATIENCE, |state| !is_live(state));
    println!("lost after {:?}: {}", began.elapsed(), output(&state, "one")["reason"]);
    appliance.until_logged(1, "does not know the session any more");
    detour.answer(Mood::Honest);
    detour.darken(false);
    appliance.until_state("it is live again", PATIENCE, is_live);
    keeps_the_secret(&appliance);
}

#[test]
fn a_turn_server_of_the_configuration_is_asked_and_its_password_never_told() {
    let _turn = turn();
    let relay = std::net::UdpSocket::bind((own_address(), 0)).unwrap();
    relay.set_read_timeout(Some(PATIENCE)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("turn");
    std::fs::write(&secret, "1700000000:somebody\nopen-sesame\n").unwrap();
    let config = format!(
        "profile = \"tried\"\n[capture]\nvideo = \"test\"\naudio = \"none\"\n[[output]]\nname = \"one\"\n\
         kind = \"whip\"\nurl = \"http://127.0.0.1:9/whip\"\nice_servers = [\"turn:{}\"]\n\
         ice_credential_file = {secret:?}\n",
        relay.local_addr().unwrap()
    );
    let appliance = Appliance::start(&config, &[("tried", PROFILE)]);
    // RFC 8656 §7.2: the first Allocate is refused with realm and nonce, the second one says who asks.
    let mut buffer = [0; 2048];
    loop {
        let (length, from) = relay.recv_from(&mut buffer).expect("the TURN server is asked");
        let asked = &buffer[..length];
        assert_eq!(asked[..2], [0x00, 0x03], "an Allocate: {asked:?}");
        if asked.windows(19).any(|part| part == b"1700000000:somebody") {
            break;
        }
        let mut attributes = vec![0x00, 0x09, 0x00, 0x04, 0, 0, 4, 1];
        attributes.extend([0x00, 0x14, 0x00, 0x04]);
        attributes.extend(b"test");
        attributes.extend([0x00, 0x15, 0x00, 0x08]);
        attributes.extend(b"nonce123");
        let mut refusal = vec![0x01, 0x13, 0x00, u8::try_from(attributes.len()).unwrap()];
        refusal.extend(&asked[4..20]);
        refusal.extend(attributes);
        relay.send_to(&refusal, from).unwrap();
    }
    let state = appliance
        .until_state("it has tried", PATIENCE, |state| output(state, "one")["state"] == "backing_off");
    let said = format!("{state:#}{}", appliance.log().join("\n"));
    for secret in ["open-sesame", "somebody"] {
        assert!(!said.contains(secret), "`{secret}` is in {said}");
    }
}

/// Open files, threads and MiB of a process.
fn held(pid: u32) -> (usize, usize, f64) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let number = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap()
    };
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    (files, number("Threads:") as usize, number("VmRSS:") / 1024.0)
}

/// Sessions that end in turn by command and by the server's death. Files and threads must come back to what they were,
/// memory must stop growing.
fn cycles(count: usize) {
    let _turn = turn();
    let mut server = Watcher::whip_server(&["--frames", "10"]);
    let port = server.expect("listening", None, PATIENCE).to_string();
    let (mut appliance, _key) = publishing(&[("one", format!("http://127.0.0.1:{port}/api/whip"))]);
    let pid = appliance.pid();
    let mut first = None;
    let (mut recoveries, mut by_the_way) = (Vec::new(), Vec::new());
    for cycle in 0..count {
        server.expect("frames", None, PATIENCE);
        let live = appliance.until_state("it is live", PATIENCE, is_live);
        if cycle % 5 == 0 {
            by_the_way.push(held(pid).2);
        }
        // The pictures of the first cycles fill caches.
        if cycle == 2.min(count / 2) {
            first = Some(held(pid));
        }
        if cycle % 2 == 0 {
            assert!(appliance.cli(&["output", "one", "stop"]).status.success());
            appliance
                .until_state("it is stopped", PATIENCE, |state| output(state, "one")["state"] == "stopped");
            assert!(appliance.cli(&["output", "one", "start"]).status.success());
        } else {
            server.kill();
            server = Watcher::whip_server(&["--frames", "10", "--port", &port]);
            server.expect("listening", None, PATIENCE);
            let began = Instant::now();
            let before = live["outputs"][0]["reconnects"].as_u64();
            appliance.until_state("it is live again", PATIENCE, |state| {
                is_live(state) && output(state, "one")["reconnects"].as_u64() > before
            });
            recoveries.push(began.elapsed());
        }
    }
    server.expect("frames", None, PATIENCE);
    let (files, threads, memory) = first.unwrap();
    // What goes down does so beside everything else.
    appliance.until_state("files and threads are as they were", PATIENCE, |state| {
        let now = held(pid);
        is_live(state) && now.0 <= files && now.1 <= threads
    });
    let last = held(pid);
    recoveries.sort();
    println!(
        "{count} cycles: {:?} at first, {last:?} at last, by the way {by_the_way:.1?} MiB",
        (files, threads, memory)
    );
    println!("after the server was back: {recoveries:?}");
    assert!(last.2 < memory + 24.0, "memory grew from {memory} to {} MiB", last.2);
    appliance.end();
}

#[test]
fn sessions_that_end_leave_nothing_behind() {
    cycles(5);
}

#[test]
#[ignore = "the long form, for `make soak`"]
fn soak_sessions_that_end_leave_nothing_behind() {
    cycles(usize::try_from(wanted("CAPCAST_SOAK_CYCLES", 50)).unwrap());
}

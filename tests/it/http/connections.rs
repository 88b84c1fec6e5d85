//! What clients do to connections, and the socket.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_clients_are_shown_out_and_cost_others_nothing() {
    let short = Duration::from_secs(1);
    let limits = Limits { connections: 3, head: short, body: short, ..Limits::default() };
    let server = Server::with(limits, None).await;
    let mut slow = Vec::new();
    for beginning in [
        "GET /api/status HT",
        "",
        "POST /api/whep/live HTTP/1.1\r\nHost: x\r\nContent-Type: application/sdp\r\nContent-Length: 9\r\n\r\nv",
    ] {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.write_all(beginning.as_bytes()).unwrap();
        slow.push(stream);
    }
    // All places are taken, so this waits until one is free, and then is served.
    assert_eq!(server.get("/api/status").await.status(), StatusCode::OK);
    for stream in slow {
        let said = rest(stream).await;
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_and_never_reads_the_answers_is_shown_out() {
    let limits = Limits { connections: 1, write: Duration::from_millis(300), ..Limits::default() };
    let server = Server::with(limits, None).await;
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let asking = tokio::task::spawn_blocking(move || {
        let asked = "GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100);
        loop {
            if let Err(error) = stream.write_all(asked.as_bytes()) {
                return error.kind();
            }
        }
    });
    let ended = asking.await.unwrap();
    assert!(
        matches!(ended, std::io::ErrorKind::BrokenPipe | std::io::ErrorKind::ConnectionReset),
        "the server does not end the connection: {ended}"
    );
    // The only place is free again.
    assert_eq!(server.get("/healthz").await.status(), StatusCode::OK);
}

/// All that comes until the server ends the connection; a reset is as good an end as any.
async fn rest(mut stream: TcpStream) -> String {
    let reading = tokio::task::spawn_blocking(move || {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut said = Vec::new();
        if let Err(error) = stream.read_to_end(&mut said) {
            let timed_out =
                matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut);
            assert!(!timed_out, "the server does not end the connection");
        }
        String::from_utf8_lossy(&said).into_owned()
    });
    reading.await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_the_port_ends_that_connection_only() {
    let server = Server::start().await;
    let endless = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(200_000));
    for garbage in [
        "\u{16}\u{3}\u{1}\u{0}TLS",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        &endless,
    ] {
        let mut stream = TcpStream::connect(server.address).unwrap();
        // The server may hang up before all is written.
        let _ = stream.write_all(garbage.as_bytes());
        let _ = stream.shutdown(Shutdown::Write);
        let said = rest(stream).await;
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{garbage:.20}: {said}");
    }
    assert_eq!(server.get("/healthz").await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_socket_may_control_without_a_token() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("capcast.sock");
    let (handle, mut inbox) = control::channel(State::starting("1", "p".to_owned()));
    let site = Site {
        control: handle,
        sfu: None,
        listen: "127.0.0.1:1".parse().unwrap(),
        tls: Tls::default(),
        default_stream: "live".parse().unwrap(),
        ice_servers: Arc::default(),
        access: Access::new(Rules::default()),
        trust: Trust::new(ControlToken::new("s3cret")),
        history: History::default(),
        feeds: Feeds::new(FeedLimits::default()),
        logs: LogRing::new(1),
        documents: Arc::new(Documents {
            profiles: Document::new(|| Ok(json!([]))),
            devices: Document::new(|| Ok(json!([]))),
            recordings: Document::new(|| Ok(json!([]))),
            recording: Box::new(|_, _| None),
            doctor: Doctor::new(Box::new(|_| Err("nobody is in".to_owned()))),
        }),
    };
    let (close, closing) = watch::channel(false);
    let serving =
        tokio::spawn(serve(Listener::unix(&path).unwrap(), router(site), Limits::default(), closing));
    tokio::spawn(async move {
        let order = inbox.orders.recv().await.unwrap();
        assert_eq!(order.command, Command::Keyframe);
        order.reply.send(Ok(Done("done".to_owned()))).unwrap();
    });
    let mut stream = UnixStream::connect(&path).unwrap();
    let ask =
        "POST /api/control/keyframe HTTP/1.1\r\nHost: box\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    stream.write_all(ask.as_bytes()).unwrap();
    let reading = tokio::task::spawn_blocking(move || {
        let mut answer = String::new();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    let answer = reading.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(r#"{"done":"done"}"#), "{answer}");
    close.send_replace(true);
    tokio::time::timeout(PATIENCE, serving).await.expect("it closes").unwrap();
    assert!(!path.exists(), "the socket goes with the server");
}

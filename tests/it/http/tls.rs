//! TLS with real clients: who speaks it, who does not, and a certificate that is replaced.

use capcast::http::{Identity, TlsError};
use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslConnector, SslMethod};
use openssl::symm::Cipher;
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509, X509NameBuilder};

use super::*;
use crate::appliance::{Appliance, turn};

/// A certificate that vouches for itself, and its key.
struct Own {
    certificate: X509,
    key: PKey<Private>,
}

impl Own {
    fn new(name: &str) -> Own {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
        let mut subject = X509NameBuilder::new().unwrap();
        subject.append_entry_by_text("CN", name).unwrap();
        let subject = subject.build();
        let mut builder = X509::builder().unwrap();
        builder.set_version(2).unwrap();
        // Clients keep two certificates of one issuer and number for the same.
        let mut number = BigNum::new().unwrap();
        number.rand(64, MsbOption::ONE, false).unwrap();
        builder.set_serial_number(&number.to_asn1_integer().unwrap()).unwrap();
        builder.set_subject_name(&subject).unwrap();
        builder.set_issuer_name(&subject).unwrap();
        builder.set_pubkey(&key).unwrap();
        builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::days_from_now(9).unwrap()).unwrap();
        let names = SubjectAlternativeName::new()
            .dns(name)
            .ip("127.0.0.1")
            .build(&builder.x509v3_context(None, None))
            .unwrap();
        builder.append_extension(names).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        Own { certificate: builder.build(), key }
    }

    fn pem(&self) -> (Vec<u8>, Vec<u8>) {
        (self.certificate.to_pem().unwrap(), self.key.private_key_to_pem_pkcs8().unwrap())
    }

    fn identity(&self) -> Identity {
        let (certificate, key) = self.pem();
        Identity::new(&certificate, &key).unwrap()
    }

    /// A client that trusts this certificate alone, and keeps its connections.
    fn client(&self) -> Client {
        let root = reqwest::Certificate::from_pem(&self.certificate.to_pem().unwrap()).unwrap();
        Client::builder().timeout(PATIENCE).tls_certs_only([root]).build().unwrap()
    }
}

/// A server that speaks TLS.
async fn secure(limits: Limits, own: &Own) -> Server {
    let server = Server::with(limits, Some("s3cret")).await;
    server.tls.set(Some(own.identity()));
    server
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_trust_the_certificate_are_served_and_their_cookies_stay_in_tls() {
    let own = Own::new("localhost");
    let server = secure(Limits::default(), &own).await;
    let base = format!("https://127.0.0.1:{}", server.address.port());
    let client = own.client();
    let status: Value = client.get(format!("{base}/api/status")).send().await.unwrap().json().await.unwrap();
    assert_eq!(status["version"], "1.2.3");
    let login =
        client.post(format!("{base}/api/session")).json(&json!({"token": "s3cret"})).send().await.unwrap();
    assert!(header(&login, "set-cookie").contains("; Secure"), "{login:?}");
    // A page of the box itself may control from this host, as without TLS.
    let own_page = client.post(format!("{base}/api/control/start")).header("origin", &base);
    assert_eq!(own_page.send().await.unwrap().status(), StatusCode::OK);

    let stranger = Own::new("localhost").client();
    assert!(stranger.get(format!("{base}/")).send().await.unwrap_err().is_connect());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_http_is_told_to_speak_tls_and_silence_is_shown_out() {
    let own = Own::new("localhost");
    let limits = Limits { connections: 1, head: Duration::from_secs(2), ..Limits::default() };
    let server = secure(limits, &own).await;
    let said = |request: &'static [u8]| {
        let mut stream = TcpStream::connect(server.address).unwrap();
        tokio::task::spawn_blocking(move || {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let _ = stream.write_all(request);
            let mut said = Vec::new();
            if let Err(error) = stream.read_to_end(&mut said) {
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "it is not ended");
            }
            String::from_utf8_lossy(&said).into_owned()
        })
    };
    let told = said(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(told.starts_with("HTTP/1.1 400") && told.contains("https://"), "{told}");
    // There is one place: each of these gives it back.
    for request in [&b""[..], b"\x16\x03\x01", b"\x16\x03\x01\x00\x05nonsense"] {
        let told = said(request).await.unwrap();
        assert!(!told.contains("HTTP"), "{told}");
    }
    let status = own.client().get(format!("https://{}/healthz", server.address)).send().await.unwrap();
    assert_eq!(status.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_certificate_counts_for_the_next_connection() {
    let (first, second) = (Own::new("localhost"), Own::new("localhost"));
    let server = secure(Limits::default(), &first).await;
    let url = format!("https://127.0.0.1:{}/api/status", server.address.port());
    let (early, late) = (first.client(), second.client());
    assert_eq!(
        early.get(&url).send().await.unwrap().text().await.map(|text| text.is_empty()).ok(),
        Some(false)
    );
    server.tls.set(Some(second.identity()));
    assert_eq!(late.get(&url).send().await.unwrap().status(), StatusCode::OK);
    // The connection that is open goes on; a new one sees the other certificate.
    assert_eq!(early.get(&url).send().await.unwrap().status(), StatusCode::OK);
    assert!(first.client().get(&url).send().await.is_err());
    server.tls.set(None);
    assert_eq!(server.get("/healthz").await.status(), StatusCode::OK, "plain HTTP again");
}

#[test]
fn what_cannot_be_an_identity_is_refused_in_words() {
    let (own, other) = (Own::new("box.example"), Own::new("box.example"));
    let (certificate, key) = own.pem();
    let identity = Identity::new(&certificate, &key).unwrap();
    assert!(identity.words.starts_with("`box.example`, `127.0.0.1` (counts from "), "{}", identity.words);
    assert!(!identity.expired);
    let locked = own.key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_128_cbc(), b"pass").unwrap();
    let refused = |certificate: &[u8], key: &[u8]| Identity::new(certificate, key).err();
    assert!(matches!(refused(&certificate, &other.pem().1), Some(TlsError::Pair)));
    for broken in [&b""[..], b"-----BEGIN", &key] {
        assert!(matches!(refused(broken, &key), Some(TlsError::Certificate)));
    }
    for broken in [&b""[..], &certificate, &locked] {
        assert!(matches!(refused(&certificate, broken), Some(TlsError::Key)));
    }
}

/// The certificate that is shown on a port.
fn shown(base: &str) -> Vec<u8> {
    let mut builder = SslConnector::builder(SslMethod::tls_client()).unwrap();
    builder.set_verify(openssl::ssl::SslVerifyMode::NONE);
    let stream = TcpStream::connect(base.trim_start_matches("https://")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let stream = builder.build().connect("localhost", stream).unwrap();
    stream.ssl().peer_certificate().unwrap().to_der().unwrap()
}

#[test]
fn the_daemon_takes_what_its_files_hold_and_keeps_what_it_has_when_they_are_broken() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let write = |own: &Own| {
        let (certificate, key) = own.pem();
        std::fs::write(folder.path().join("tls.key"), key).unwrap();
        std::fs::write(folder.path().join("tls.pem"), certificate).unwrap();
    };
    let (first, second) = (Own::new("localhost"), Own::new("localhost"));
    write(&first);
    let config = format!(
        "[capture]\nvideo = \"test\"\naudio = \"none\"\n[http]\ntls_certificate = \"{0}/tls.pem\"\ntls_key = \"{0}/tls.key\"\n",
        folder.path().display()
    );
    let appliance = Appliance::start(&config, &[]);
    assert!(appliance.base.starts_with("https://"), "{}", appliance.base);
    assert_eq!(shown(&appliance.base), first.certificate.to_der().unwrap());
    assert!(appliance.cli(&["status"]).status.success(), "the socket is as it was");

    std::fs::write(folder.path().join("tls.pem"), "broken").unwrap();
    let reload = appliance.cli(&["reload"]);
    let words = String::from_utf8_lossy(&reload.stderr).into_owned();
    assert!(!reload.status.success() && words.contains("tls.pem"), "{words}");
    assert_eq!(shown(&appliance.base), first.certificate.to_der().unwrap());

    // Nobody tells the daemon of this one.
    write(&second);
    let deadline = now() + PATIENCE;
    while shown(&appliance.base) != second.certificate.to_der().unwrap() {
        assert!(now() < deadline, "it goes on with the old one:\n{}", appliance.log().join("\n"));
    }
    appliance.until_logged(2, "TLS with a certificate for `localhost`");
}

//! TLS on the HTTP port, from a certificate and a key that can be replaced while it is spoken.

use std::io;
use std::pin::Pin;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use openssl::asn1::Asn1Time;
use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::ssl::{Ssl, SslAcceptor, SslMethod};
use openssl::x509::X509;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

/// The first byte of every TLS connection: a handshake record (RFC 8446 §5.1).
const HANDSHAKE: u8 = 0x16;

/// What a client hears that speaks plain HTTP where TLS is spoken.
const PLAIN: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n\
                       this port speaks TLS: write https:// instead of http://\n";

/// Bytes of plain HTTP that are read before the connection ends.
const MOST_PLAIN: u64 = 64 * 1024;

/// Why a certificate and a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// No certificate could be read.
    #[error(
        "there is no certificate in the first that can be read\nhint: it must be PEM: the box's own certificate first, then those between it and its authority"
    )]
    Certificate,
    /// No private key could be read.
    #[error(
        "there is no private key in the second that can be read\nhint: it must be PEM, and not locked by a passphrase"
    )]
    Key,
    /// They are not of one pair.
    #[error("the key is not the certificate's")]
    Pair,
    /// OpenSSL refuses.
    #[error("OpenSSL refuses them: {0}")]
    Refused(#[from] ErrorStack),
}

/// The identity that is shown to TLS clients; plain HTTP while there is none. Cheap to clone.
#[derive(Clone, Default)]
pub struct Tls(Arc<ArcSwapOption<SslAcceptor>>);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.is_spoken() { "Tls(…)" } else { "Tls(none)" })
    }
}

/// A certificate chain with its key, ready for use.
pub struct Identity {
    acceptor: SslAcceptor,
    /// For whom it is, until when, and whether that is past: for the log.
    pub words: String,
    /// It counts no more, or not yet.
    pub expired: bool,
}

impl Identity {
    /// From PEM: the box's certificate and then those between it and its authority; the key, which must be its own.
    pub fn new(certificates: &[u8], key: &[u8]) -> Result<Identity, TlsError> {
        let mut chain = X509::stack_from_pem(certificates).map_err(|_| TlsError::Certificate)?.into_iter();
        let own = chain.next().ok_or(TlsError::Certificate)?;
        // Without this OpenSSL would ask for a passphrase on the terminal.
        let key = PKey::private_key_from_pem_callback(key, |_| Ok(0)).map_err(|_| TlsError::Key)?;
        if !own.public_key()?.public_eq(&key) {
            return Err(TlsError::Pair);
        }
        // TLS 1.2 and 1.3.
        let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
        builder.set_certificate(&own)?;
        for further in chain {
            builder.add_extra_chain_cert(further)?;
        }
        builder.set_private_key(&key)?;
        builder.check_private_key()?;
        let now = Asn1Time::days_from_now(0)?;
        let expired = own.not_after() < now || own.not_before() > now;
        let words = format!("{} (counts from {} to {})", names(&own), own.not_before(), own.not_after());
        Ok(Identity { acceptor: builder.build(), words, expired })
    }
}

/// A connection on which HTTP can be spoken.
pub(super) enum Transport {
    /// After the handshake.
    Tls(SslStream<TcpStream>),
    /// As it came.
    Plain(TcpStream),
}

/// The names that a certificate is for.
fn names(certificate: &X509) -> String {
    let alternatives = certificate.subject_alt_names();
    let names: Vec<String> = alternatives
        .iter()
        .flatten()
        .filter_map(|name| match (name.dnsname(), name.ipaddress()) {
            (Some(name), _) => Some(format!("`{name}`")),
            (None, Some(bytes)) => address(bytes).map(|address| format!("`{address}`")),
            (None, None) => None,
        })
        .collect();
    if names.is_empty() { "no name at all".to_owned() } else { names.join(", ") }
}

fn address(bytes: &[u8]) -> Option<std::net::IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(std::net::IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(std::net::IpAddr::from)).ok()
}

impl Tls {
    /// Connections from now on see this one, or plain HTTP; those that are open go on as they are.
    pub fn set(&self, identity: Option<Identity>) {
        self.0.store(identity.map(|identity| Arc::new(identity.acceptor)));
    }

    /// Is there an identity?
    pub fn is_spoken(&self) -> bool {
        self.0.load().is_some()
    }

    /// Shakes hands, if TLS is spoken. Whoever speaks plain HTTP then is told so, which is an error here.
    pub(super) async fn accept(&self, mut stream: TcpStream) -> io::Result<Transport> {
        let Some(acceptor) = self.0.load_full() else { return Ok(Transport::Plain(stream)) };
        let mut first = [0];
        if stream.peek(&mut first).await? == 1 && first[0] != HANDSHAKE {
            stream.write_all(PLAIN).await?;
            stream.shutdown().await?;
            // What was sent is read, else the system would take the answer back with the connection.
            tokio::io::copy(&mut stream.take(MOST_PLAIN), &mut tokio::io::sink()).await?;
            return Err(io::Error::new(io::ErrorKind::InvalidData, "plain HTTP where TLS is spoken"));
        }
        let ssl = Ssl::new(acceptor.context())?;
        let mut stream = SslStream::new(ssl, stream)?;
        Pin::new(&mut stream).accept().await.map_err(io::Error::other)?;
        Ok(Transport::Tls(stream))
    }
}

//! Signed tokens (RFC 7519) with the claims `stream`, `publish`, `view` and `exp`.
//!
//! `jsonwebtoken` reads them; signatures are OpenSSL's, which is linked already.

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{self, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Validation};
use openssl::hash::MessageDigest;
use openssl::pkey::{Id, PKey, Private, Public};
use openssl::sign::Signer;
use serde::Deserialize;

use super::Action;
use crate::media::StreamName;

/// The shortest secret for HS256: as long as its hash (RFC 7518 §3.2).
const SHORTEST: usize = 32;

/// Why a key does not serve.
#[derive(Debug, thiserror::Error)]
pub enum TokenKeyError {
    /// Not what the configuration says it is.
    #[error("it holds no public Ed25519 key in PEM (`openssl pkey -in private.pem -pubout` writes one)")]
    NotEd25519,
    /// A secret that can be guessed.
    #[error(
        "the secret has {0} bytes, and HS256 needs {SHORTEST} or more (`openssl rand -hex 32` makes one)"
    )]
    Short(usize),
}

/// What tokens are verified with. Its `Debug` does not show it.
pub struct TokenKey {
    key: DecodingKey,
    /// Of a new session, and of one that is there.
    fresh: Validation,
    again: Validation,
}

#[derive(Deserialize)]
struct Claims {
    stream: String,
    #[serde(default)]
    publish: bool,
    #[serde(default)]
    view: bool,
}

impl TokenKey {
    /// For EdDSA (RFC 8037) by a public Ed25519 key in PEM.
    ///
    /// # Errors
    /// When it is another key, or none.
    pub fn ed_dsa(pem: &str) -> Result<TokenKey, TokenKeyError> {
        let key = PKey::public_key_from_pem(pem.as_bytes()).ok().filter(|key| key.id() == Id::ED25519);
        let raw = key.and_then(|key| key.raw_public_key().ok()).ok_or(TokenKeyError::NotEd25519)?;
        Ok(TokenKey::new(DecodingKey::from_ed_der(&raw), Algorithm::EdDSA))
    }

    /// For HS256 by this secret.
    ///
    /// # Errors
    /// When it is too short.
    pub fn hs256(secret: &str) -> Result<TokenKey, TokenKeyError> {
        if secret.len() < SHORTEST {
            return Err(TokenKeyError::Short(secret.len()));
        }
        Ok(TokenKey::new(DecodingKey::from_secret(secret.as_bytes()), Algorithm::HS256))
    }

    fn new(key: DecodingKey, algorithm: Algorithm) -> TokenKey {
        // An error says that it is installed already, by an earlier key.
        let _ = CRYPTO.install_default();
        let mut fresh = Validation::new(algorithm);
        fresh.validate_nbf = true;
        // Whom else a token is for is not asked: what it opens here stands in its own claims.
        fresh.validate_aud = false;
        let mut again = fresh.clone();
        again.validate_exp = false;
        TokenKey { key, fresh, again }
    }

    /// The stream for which the token allows this; with `named`, only that one. `again`: it may have expired. The error
    /// says what is wrong with a token.
    pub(super) fn stream_of(
        &self,
        token: &str,
        action: Action,
        named: Option<&str>,
        again: bool,
    ) -> Result<StreamName, &'static str> {
        let validation = if again { &self.again } else { &self.fresh };
        let token = jsonwebtoken::decode::<Claims>(token, &self.key, validation);
        let claims = token.map_err(|error| fault(error.kind()))?.claims;
        let allows = match action {
            Action::Publish => claims.publish,
            Action::View => claims.view,
        };
        let stream =
            claims.stream.parse::<StreamName>().map_err(|_| "the token's `stream` is no stream's name")?;
        match (allows, named) {
            (false, _) => Err("the token does not allow this: `publish` or `view` is not `true`"),
            (true, Some(named)) if named != stream.as_str() => Err("the token is for another stream"),
            (true, _) => Ok(stream),
        }
    }
}

/// Has a token read, by keys of both kinds.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzzed(token: &str) {
    const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
    let keys = [TokenKey::hs256(&"0".repeat(SHORTEST)), TokenKey::ed_dsa(PUBLIC)];
    for key in keys.into_iter().map(|key| key.expect("a key")) {
        for (action, again) in [(Action::View, false), (Action::Publish, true)] {
            let _ = key.stream_of(token, action, Some("live"), again);
        }
    }
}

/// What is wrong with a token, for whoever signs them.
fn fault(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::ExpiredSignature => "the token has expired (`exp`)",
        ErrorKind::ImmatureSignature => "the token does not count yet (`nbf`)",
        ErrorKind::InvalidSignature => "the token's signature is not by the key of this box",
        ErrorKind::InvalidAlgorithm => "the token is signed in another way than this box's key is for",
        ErrorKind::MissingRequiredClaim(_) => "the token has no `exp`",
        ErrorKind::Json(_) => {
            "the token's claims cannot be read: `stream` is a name, `publish` and `view` are true or false"
        }
        _ => "that is no token",
    }
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TokenKey({:?})", self.fresh.algorithms)
    }
}

static CRYPTO: CryptoProvider = CryptoProvider {
    signer_factory: |_: &Algorithm, _: &EncodingKey| -> Result<Box<dyn JwtSigner>, Error> {
        Err(ErrorKind::InvalidAlgorithm.into())
    },
    verifier_factory: |algorithm, key| {
        let bytes = key.try_get_as_bytes()?;
        match algorithm {
            Algorithm::HS256 => {
                Ok(Box::new(Hs256(PKey::hmac(bytes).map_err(|_| ErrorKind::InvalidKeyFormat)?)))
            }
            Algorithm::EdDSA => {
                let key = PKey::public_key_from_raw_bytes(bytes, Id::ED25519);
                Ok(Box::new(Ed25519(key.map_err(|_| ErrorKind::InvalidKeyFormat)?)))
            }
            _ => Err(ErrorKind::InvalidAlgorithm.into()),
        }
    },
    key_utils: KeyUtils::new_unimplemented(),
};

struct Hs256(PKey<Private>);

impl Verifier<Vec<u8>> for Hs256 {
    fn verify(&self, message: &[u8], given: &Vec<u8>) -> Result<(), signature::Error> {
        let mut signer =
            Signer::new(MessageDigest::sha256(), &self.0).map_err(signature::Error::from_source)?;
        let right = signer.sign_oneshot_to_vec(message).map_err(signature::Error::from_source)?;
        let same = right.len() == given.len() && openssl::memcmp::eq(&right, given);
        same.then_some(()).ok_or_else(signature::Error::new)
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

struct Ed25519(PKey<Public>);

impl Verifier<Vec<u8>> for Ed25519 {
    fn verify(&self, message: &[u8], given: &Vec<u8>) -> Result<(), signature::Error> {
        let verifier = openssl::sign::Verifier::new_without_digest(&self.0);
        let right = verifier.and_then(|mut verifier| verifier.verify_oneshot(given, message));
        right.unwrap_or(false).then_some(()).ok_or_else(signature::Error::new)
    }
}

impl JwtVerifier for Ed25519 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

#[cfg(test)]
pub(super) mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    pub(in crate::http::access) const SECRET: &str = "0123456789abcdef0123456789abcdef";

    /// The token of a header and claims, signed by HS256.
    pub(in crate::http::access) fn signed(header: &str, claims: &str) -> String {
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let key = PKey::hmac(SECRET.as_bytes()).unwrap();
        let signature = Signer::new(MessageDigest::sha256(), &key)
            .unwrap()
            .sign_oneshot_to_vec(message.as_bytes())
            .unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    const HS256: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

    #[test]
    fn a_token_opens_what_it_says_until_it_expires() {
        let key = TokenKey::hs256(SECRET).unwrap();
        let ask = |claims: &str, action, named, again| {
            key.stream_of(&signed(HS256, claims), action, named, again).map(|stream| stream.to_string()).ok()
        };
        let both = r#"{"stream":"obs","publish":true,"view":true,"exp":9999999999}"#;
        for action in [Action::Publish, Action::View] {
            assert_eq!(ask(both, action, None, false).as_deref(), Some("obs"));
            assert_eq!(ask(both, action, Some("obs"), false).as_deref(), Some("obs"));
            assert_eq!(ask(both, action, Some("cam"), false), None);
        }
        let view = r#"{"stream":"obs","view":true,"exp":9999999999}"#;
        assert_eq!(ask(view, Action::Publish, None, false), None);
        let expired = r#"{"stream":"obs","view":true,"exp":1}"#;
        let said = key.stream_of(&signed(HS256, expired), Action::View, None, false);
        assert_eq!(said, Err("the token has expired (`exp`)"));
        assert_eq!(ask(expired, Action::View, None, false), None);
        assert_eq!(ask(expired, Action::View, None, true).as_deref(), Some("obs"), "the session is there");
        for claims in [
            r#"{"stream":"obs","view":true}"#,
            r#"{"stream":"obs","view":true,"exp":9999999999,"nbf":9999999998}"#,
            r#"{"stream":"api","view":true,"exp":9999999999}"#,
            r#"{"stream":"a b","view":true,"exp":9999999999}"#,
            r#"{"view":true,"exp":9999999999}"#,
            r#"{"stream":"obs","view":"yes","exp":9999999999}"#,
            "[]",
        ] {
            assert_eq!(ask(claims, Action::View, None, false), None, "{claims}");
        }
    }

    #[test]
    fn only_the_algorithm_and_key_of_the_configuration_count() {
        let key = TokenKey::hs256(SECRET).unwrap();
        let claims = r#"{"stream":"obs","view":true,"exp":9999999999}"#;
        let good = signed(HS256, claims);
        let (message, signature) = good.rsplit_once('.').unwrap();
        let none = signed(r#"{"alg":"none"}"#, claims);
        let unsigned = format!("{}.", none.rsplit_once('.').unwrap().0);
        let forged = format!("{message}.{}", signature.chars().rev().collect::<String>());
        for token in
            [&unsigned, &none, &forged, &format!("{message}."), &signed(r#"{"alg":"HS512"}"#, claims)]
        {
            assert!(key.stream_of(token, Action::View, None, false).is_err(), "{token}");
        }
        let other = TokenKey::hs256("another secret, as long as the first").unwrap();
        assert_eq!(
            other.stream_of(&good, Action::View, None, false),
            Err("the token's signature is not by the key of this box")
        );
        // A public key is no secret: nobody signs with it by HS256.
        let pair = PKey::generate_ed25519().unwrap();
        let public = String::from_utf8(pair.public_key_to_pem().unwrap()).unwrap();
        let by_public = TokenKey::ed_dsa(&public).unwrap();
        assert!(by_public.stream_of(&good, Action::View, None, false).is_err());
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA"}"#);
        let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
        let mut signer = Signer::new_without_digest(&pair).unwrap();
        let signature = signer.sign_oneshot_to_vec(message.as_bytes()).unwrap();
        let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature));
        assert!(by_public.stream_of(&token, Action::View, None, false).is_ok());
        assert!(key.stream_of(&token, Action::View, None, false).is_err());
    }

    #[test]
    fn keys_that_do_not_serve_are_refused_with_the_cure() {
        let said = TokenKey::hs256("short").unwrap_err().to_string();
        assert!(said.contains("5 bytes") && said.contains("openssl rand"), "{said}");
        let private = PKey::generate_ed25519().unwrap().private_key_to_pem_pkcs8().unwrap();
        let said = TokenKey::ed_dsa(&String::from_utf8(private).unwrap()).unwrap_err().to_string();
        assert!(said.contains("-pubout"), "{said}");
        let rsa = PKey::from_rsa(openssl::rsa::Rsa::generate(2048).unwrap()).unwrap();
        assert!(TokenKey::ed_dsa(&String::from_utf8(rsa.public_key_to_pem().unwrap()).unwrap()).is_err());
        assert!(!format!("{:?}", TokenKey::hs256(SECRET).unwrap()).contains("0123"));
    }
}

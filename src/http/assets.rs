//! The web pages, embedded: a path in, bytes and their headers out.
//!
//! `build.rs` names the folder: `web/dist` once `make web` has built it, else a page that says so.

use std::borrow::Cow;

/// Sent with every page: everything comes from this server, nothing is inline, nothing is evaluated, and no other
/// site may frame it.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self'; font-src 'self'; connect-src 'self'; media-src 'self' blob: mediastream:; \
     base-uri 'none'; form-action 'self'; frame-ancestors 'self'";

/// One embedded file and the headers it is sent with.
#[derive(Clone, Debug)]
pub struct Asset {
    /// The body.
    pub bytes: Cow<'static, [u8]>,
    /// `Content-Type`
    pub content_type: &'static str,
    /// `Cache-Control`: files under `assets/` carry a hash of their content in their name and never change.
    pub cache_control: &'static str,
    /// `ETag`, strong and quoted: a hash of the content.
    pub etag: String,
}

#[derive(rust_embed::Embed)]
#[folder = "$CAPCAST_WEB_DIST"]
struct Files;

/// The file at `path`, which has no leading slash: `index.html` is the player, `panel.html` the panel,
/// `assets/…` what they load.
pub fn find(path: &str) -> Option<Asset> {
    let file = Files::get(path)?;
    let cache_control =
        if path.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    let hash = file.metadata.sha256_hash();
    let etag = hash[..12].iter().fold(String::from("\""), |text, byte| format!("{text}{byte:02x}")) + "\"";
    Some(Asset { bytes: file.data, content_type: content_type(path), cache_control, etag })
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "woff2" => "font/woff2",
        "json" | "webmanifest" => "application/json",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_page_is_html_that_must_be_revalidated() {
        let page = find("index.html").unwrap();
        assert!(page.bytes.starts_with(b"<!doctype html>"), "{:?}", &page.bytes[..40]);
        assert_eq!(page.content_type, "text/html; charset=utf-8");
        assert_eq!(page.cache_control, "no-cache");
        assert_eq!(page.etag.len(), 26);
    }

    #[test]
    fn everything_a_page_loads_is_here_and_immutable() {
        for page in Files::iter().filter(|path| path.ends_with(".html")) {
            let html = String::from_utf8(find(&page).unwrap().bytes.into_owned()).unwrap();
            for part in html.split(['"', '\'']).filter(|part| part.starts_with("/assets/")) {
                let asset =
                    find(&part[1..]).unwrap_or_else(|| panic!("{page} loads {part}, which is missing"));
                assert!(asset.cache_control.contains("immutable"), "{part}");
                assert_ne!(asset.content_type, "application/octet-stream", "{part}");
            }
        }
    }

    #[test]
    fn pages_hold_nothing_that_their_policy_forbids() {
        for page in Files::iter().filter(|path| path.ends_with(".html")) {
            let html = String::from_utf8(find(&page).unwrap().bytes.into_owned()).unwrap();
            for forbidden in
                ["<style", " style=", " onclick=", " onload=", "javascript:", "https://", "http://"]
            {
                assert!(!html.contains(forbidden), "{page} holds {forbidden}");
            }
            for script in html.split("<script").skip(1) {
                let tag = script.split('>').next().unwrap_or_default();
                assert!(tag.contains(" src=\"/assets/"), "{page} has an inline script: {tag}");
            }
        }
    }

    #[test]
    fn what_is_not_a_page_is_not_found() {
        for path in ["", "assets/", "../Cargo.toml", "nothing.js", "/index.html"] {
            assert!(find(path).is_none(), "{path:?}");
        }
    }
}

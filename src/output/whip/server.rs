//! What a Broadcast Box says about a stream that is published there.

use http::StatusCode;
use serde_json::Value;

/// Its `/api/status?key=` in words; none where the answer is of another server.
pub(super) fn words(status: StatusCode, body: &str) -> Option<String> {
    match status {
        StatusCode::OK => {
            let stream: Value = serde_json::from_str(body).ok()?;
            let count = |name: &str| Some(stream.get(name)?.as_array()?.len());
            let viewers = count("sessions").unwrap_or(0);
            let tracks = count("videoTracks")? + count("audioTracks").unwrap_or(0);
            let viewers = if viewers == 1 { "1 viewer".to_owned() } else { format!("{viewers} viewers") };
            Some(if tracks == 0 {
                format!("the server lists the stream without media, {viewers}")
            } else {
                format!("the server has the stream, {viewers}")
            })
        }
        StatusCode::NOT_FOUND => Some("the server does not list the stream".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_whatever_else_is_in_it() {
        let body = r#"{"streamKey":"k","videoTracks":[{"rid":"","bitrate":1}],"audioTracks":[],"sessions":[{"id":"x"}]}"#;
        assert_eq!(words(StatusCode::OK, body).as_deref(), Some("the server has the stream, 1 viewer"));
        let body = r#"{"videoTracks":[],"audioTracks":[],"sessions":null}"#;
        assert_eq!(
            words(StatusCode::OK, body).as_deref(),
            Some("the server lists the stream without media, 0 viewers")
        );
        assert_eq!(words(StatusCode::NOT_FOUND, "").as_deref(), Some("the server does not list the stream"));
        for (status, body) in
            [(StatusCode::OK, "<html>"), (StatusCode::OK, "{}"), (StatusCode::FORBIDDEN, "")]
        {
            assert_eq!(words(status, body), None, "{body}");
        }
    }
}

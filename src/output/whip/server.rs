//! What a Broadcast Box says about a stream that is published there.

use http::StatusCode;
use serde_json::Value;

/// Its `/api/status?key=` in words; none where the answer is of another server. For one key it says less than in its list
/// of all: whether the stream is online, and how many watch it.
pub(super) fn words(status: StatusCode, body: &str) -> Option<String> {
    match status {
        StatusCode::OK => {
            let stream: Value = serde_json::from_str(body).ok()?;
            let online = stream.get("isOnline")?.as_bool()?;
            let viewers = match stream.get("viewers")?.as_u64()? {
                1 => "1 viewer".to_owned(),
                viewers => format!("{viewers} viewers"),
            };
            Some(if online {
                format!("the server has the stream, {viewers}")
            } else {
                format!("the server lists the stream without media, {viewers}")
            })
        }
        StatusCode::NOT_FOUND => Some("the server does not list the stream".to_owned()),
        _ => None,
    }
}

/// Whether the same answer says that the stream is there, with its media; none where it is of another server.
pub(super) fn has(status: StatusCode, body: &str) -> Option<bool> {
    match status {
        StatusCode::OK => serde_json::from_str::<Value>(body).ok()?.get("isOnline")?.as_bool(),
        StatusCode::NOT_FOUND => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_whatever_else_is_in_it() {
        // As Broadcast Box 9f43de2 answered.
        let body = r#"{"streamKey":"k","motd":"Welcome to k's stream!","viewers":1,"isOnline":true,"streamStart":"2026-11-21T16:22:20Z"}"#;
        assert_eq!(words(StatusCode::OK, body).as_deref(), Some("the server has the stream, 1 viewer"));
        let body = r#"{"viewers":0,"isOnline":false}"#;
        assert_eq!(
            words(StatusCode::OK, body).as_deref(),
            Some("the server lists the stream without media, 0 viewers")
        );
        assert_eq!(has(StatusCode::OK, body), Some(false));
        assert_eq!(has(StatusCode::OK, r#"{"viewers":0,"isOnline":true}"#), Some(true));
        assert_eq!(has(StatusCode::NOT_FOUND, ""), Some(false));
        assert_eq!(words(StatusCode::NOT_FOUND, "").as_deref(), Some("the server does not list the stream"));
        for (status, body) in
            [(StatusCode::OK, "<html>"), (StatusCode::OK, "{}"), (StatusCode::FORBIDDEN, "")]
        {
            assert_eq!((words(status, body), has(status, body)), (None, None), "{body}");
        }
    }
}

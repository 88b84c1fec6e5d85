use super::guesses::MAX_GUESSES;
use super::token::tests::{SECRET, signed};
use super::*;

fn stream(name: &str) -> StreamName {
    name.parse().unwrap()
}

/// `obs` and `cam` are published with keys, `obs` is watched with one.
fn rules() -> Rules {
    let key = |name: &str, key: &str| (stream(name), key.to_owned());
    Rules {
        publish: vec![key("obs", "s3cret"), key("cam", "xbox")],
        view: vec![key("obs", "look")],
        replace: true,
        ..Rules::default()
    }
}

fn asking<'a>(action: Action, bearer: Option<&'a str>, named: Option<&'a str>) -> Asking<'a> {
    Asking { action, bearer, named, default: None, again: false, source: "192.0.2.1".parse().ok() }
}

#[test]
fn a_publish_key_opens_its_own_stream_only_plain_or_in_base64() {
    let rules = rules();
    for (bearer, named, expected) in [
        ("s3cret", None, Some("obs")),
        ("s3cret", Some("obs"), Some("obs")),
        ("czNjcmV0", None, Some("obs")),
        ("xbox", None, Some("cam")),
        ("eGJveA==", Some("cam"), Some("cam")),
        ("s3cret", Some("cam"), None),
        ("s3cret", Some("nothing"), None),
        ("s3cre", None, None),
        ("S3cret", None, None),
        ("look", None, None),
        ("obs", None, None),
        ("", None, None),
    ] {
        let judged = rules.judge(&asking(Action::Publish, Some(bearer), named), Some(bearer));
        match expected {
            Some(expected) => assert_eq!(judged, Judgement::Proven(stream(expected)), "{bearer:?} {named:?}"),
            None => assert!(matches!(judged, Judgement::Closed { .. }), "{bearer:?} {named:?}: {judged:?}"),
        }
    }
    let judged = Rules::default().judge(&asking(Action::Publish, Some("s3cret"), None), Some("s3cret"));
    assert_eq!(judged, Judgement::Closed { stream: None, fault: None });
    let shown = format!("{rules:?}");
    assert!(!shown.contains("s3cret") && !shown.contains("look"), "{shown}");
}

#[test]
fn what_has_a_view_key_is_watched_with_it_and_the_rest_by_everybody() {
    let rules = rules();
    let judge = |bearer, named| rules.judge(&asking(Action::View, bearer, named), bearer);
    let closed = |name| Judgement::Closed { stream: Some(stream(name)), fault: None };
    assert_eq!(judge(Some("look"), None), Judgement::Proven(stream("obs")));
    assert_eq!(judge(Some("look"), Some("obs")), Judgement::Proven(stream("obs")));
    assert_eq!(judge(Some("look"), Some("cam")), Judgement::Open(stream("cam")));
    assert_eq!(judge(None, Some("cam")), Judgement::Open(stream("cam")));
    assert_eq!(judge(Some("cam"), None), Judgement::Open(stream("cam")), "the bearer is a name");
    assert_eq!(judge(None, Some("obs")), closed("obs"));
    assert_eq!(judge(Some("obs"), None), closed("obs"));
    assert_eq!(judge(Some("s3cret"), Some("obs")), closed("obs"), "a publish key opens no view");
    assert_eq!(judge(Some("no name!"), None), Judgement::Closed { stream: None, fault: None });
    assert_eq!(judge(None, Some("no name!")), Judgement::Nothing);
    assert_eq!(judge(None, None), Judgement::Nothing);
    let default = stream("obs");
    let mut asking = asking(Action::View, None, None);
    asking.default = Some(&default);
    assert_eq!(rules.judge(&asking, None), closed("obs"));
    asking.bearer = Some("look");
    assert_eq!(rules.judge(&asking, Some("look")), Judgement::Proven(stream("obs")));
    let open = Rules::default().judge(&asking, Some("look"));
    assert_eq!(open, Judgement::Open(stream("look")));
}

#[test]
fn where_tokens_count_every_stream_needs_one_or_its_key() {
    let rules = Rules { tokens: TokenKey::hs256(SECRET).ok(), ..rules() };
    let token = signed(r#"{"alg":"HS256"}"#, r#"{"stream":"show","view":true,"exp":9999999999}"#);
    let judge = |action, bearer, named| rules.judge(&asking(action, bearer, named), bearer);
    assert_eq!(judge(Action::View, Some(&token), None), Judgement::Proven(stream("show")));
    assert_eq!(judge(Action::View, Some(&token), Some("show")), Judgement::Proven(stream("show")));
    let closed = |name| Judgement::Closed { stream: Some(stream(name)), fault: None };
    let fault = Some("the token is for another stream");
    assert_eq!(
        judge(Action::View, Some(&token), Some("cam")),
        Judgement::Closed { stream: Some(stream("cam")), fault }
    );
    assert_eq!(judge(Action::View, None, Some("cam")), closed("cam"));
    assert_eq!(judge(Action::View, Some("look"), None), Judgement::Proven(stream("obs")));
    let fault = Some("the token does not allow this: `publish` or `view` is not `true`");
    assert_eq!(judge(Action::Publish, Some(&token), None), Judgement::Closed { stream: None, fault });
    assert_eq!(judge(Action::Publish, Some("xbox"), None), Judgement::Proven(stream("cam")));
}

#[tokio::test]
async fn guessing_is_slowed_down_and_what_is_open_stays_open() {
    let access = Access::new(rules());
    let ask = |action, bearer, named| access.admit(asking(action, bearer, named));
    // A name is no guess, however often it comes.
    for _ in 0..2 * MAX_GUESSES {
        assert_eq!(ask(Action::View, Some("obs"), None).await, Err(Refused::Wrong(None)));
        assert_eq!(ask(Action::View, None, Some("obs")).await, Err(Refused::Missing));
        assert_eq!(ask(Action::View, Some("cam"), None).await, Ok(stream("cam")));
    }
    for _ in 0..MAX_GUESSES {
        assert_eq!(ask(Action::View, Some("guess"), Some("obs")).await, Err(Refused::Wrong(None)));
    }
    for (action, bearer, named) in
        [(Action::View, "look", None), (Action::View, "look", Some("obs")), (Action::Publish, "s3cret", None)]
    {
        let refused = ask(action, Some(bearer), named).await;
        // The right key without a stream's name reads as the name of an open stream, which there is not.
        let expected = matches!(refused, Err(Refused::Later(_))) || refused == Ok(stream("look"));
        assert!(expected, "{bearer} {named:?}: {refused:?}");
    }
    assert_eq!(ask(Action::View, None, Some("cam")).await, Ok(stream("cam")));
    let mut elsewhere = asking(Action::View, Some("look"), None);
    elsewhere.source = "192.0.2.2".parse().ok();
    assert_eq!(access.admit(elsewhere).await, Ok(stream("obs")));
    for _ in 0..MAX_GUESSES {
        access.note_unknown(elsewhere.source);
    }
    elsewhere.named = Some("obs");
    assert!(matches!(access.admit(elsewhere).await, Err(Refused::Later(_))));
    access.set(Rules::default());
    elsewhere.source = "192.0.2.3".parse().ok();
    assert_eq!(access.admit(elsewhere).await, Ok(stream("obs")), "other rules");
}

#[tokio::test]
async fn a_webhook_is_not_asked_about_the_tokens_of_a_guesser() {
    let nobody = Webhook::new("http://127.0.0.1:9/".to_owned(), Duration::from_secs(5)).unwrap();
    let access = Access::new(Rules { webhook: Some(nobody), ..Rules::default() });
    let guess = asking(Action::View, Some("guess"), Some("live"));
    assert_eq!(access.admit(guess).await, Err(Refused::NoVerdict));
    for _ in 0..MAX_GUESSES {
        access.note(guess.source);
    }
    assert!(matches!(access.admit(guess).await, Err(Refused::Later(_))));
}

//! Holds answers against the OpenAPI document that the daemon serves: an answer that it does not declare fails the test.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use reqwest::{Method, Response};
use serde_json::{Value, json};

use super::schema;
use crate::appliance::source;

/// As it stands in the source tree, which is what is served.
static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let text = std::fs::read_to_string(source("src/http/openapi.json")).unwrap();
    serde_json::from_str(&text).unwrap()
});

/// The document's components with every object closed, so that a field that is not declared is found.
static COMPONENTS: LazyLock<Value> = LazyLock::new(|| {
    let mut components = DOCUMENT["components"].clone();
    let mut parts = BTreeSet::new();
    each(&DOCUMENT["components"]["schemas"], &mut |schema| {
        let of = schema["allOf"].as_array().into_iter().flatten();
        parts.extend(of.filter_map(|part| part["$ref"].as_str()?.rsplit('/').next()).map(str::to_owned));
    });
    for (name, schema) in components["schemas"].as_object_mut().unwrap() {
        if !parts.contains(name) {
            close(schema);
        }
    }
    components
});

fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if members.contains_key("properties") {
                members.insert("unevaluatedProperties".to_owned(), Value::Bool(false));
            }
            members.values_mut().for_each(close);
        }
        Value::Array(members) => members.iter_mut().for_each(close),
        _ => {}
    }
}

fn each(value: &Value, visit: &mut impl FnMut(&Value)) {
    visit(value);
    match value {
        Value::Object(members) => members.values().for_each(|member| each(member, visit)),
        Value::Array(members) => members.iter().for_each(|member| each(member, visit)),
        _ => {}
    }
}

/// Fails unless `value` is as `#/components/schemas/name` says.
#[track_caller]
pub(crate) fn assert_schema(name: &str, value: &Value) {
    if let Err(words) = fits(&json!({ "$ref": format!("#/components/schemas/{name}") }), value) {
        panic!("not as `{name}` in src/http/openapi.json: {words}");
    }
}

fn fits(schema: &Value, value: &Value) -> Result<(), String> {
    let mut members = BTreeSet::new();
    schema::fits(&COMPONENTS, schema, value, &mut members)
}

/// Reads an answer, fails when the document does not declare it, and gives it back whole. Events are not waited for.
pub(crate) async fn checked(method: &Method, path: &str, response: Response) -> Response {
    let (status, headers) = (response.status(), response.headers().clone());
    let kind = headers.get("content-type").map_or("", |kind| kind.to_str().unwrap());
    let kind = kind.split(';').next().unwrap_or_default().to_owned();
    let events = kind == "text/event-stream";
    if events {
        check(method, path, status.as_u16(), &kind, None);
        return response;
    }
    let body = response.bytes().await.unwrap();
    check(method, path, status.as_u16(), &kind, Some(&body));
    let mut rebuilt = http::Response::new(body);
    (*rebuilt.status_mut(), *rebuilt.headers_mut()) = (status, headers);
    Response::from(rebuilt)
}

fn check(method: &Method, path: &str, status: u16, kind: &str, body: Option<&[u8]>) {
    let told = format!("{method} {path} answered {status} `{kind}`");
    let path = path.split('?').next().unwrap_or_default();
    let head = method == Method::HEAD;
    let operation = item(path).and_then(|item| {
        let own = item.get(method.as_str().to_lowercase());
        own.or_else(|| head.then(|| item.get("get")).flatten())
    });
    let declared = match operation {
        Some(operation) => &operation["responses"][status.to_string()],
        None if status == 404 => &DOCUMENT["components"]["responses"]["NotFound"],
        None if status == 405 => &DOCUMENT["components"]["responses"]["MethodNotAllowed"],
        None if status == 400 => &DOCUMENT["components"]["responses"]["BadRequest"],
        None => &Value::Null,
    };
    let declared = match declared["$ref"].as_str() {
        Some(name) => DOCUMENT.pointer(&name[1..]).unwrap(),
        None => declared,
    };
    assert!(!declared.is_null(), "{told}: src/http/openapi.json does not declare that");
    let Some(body) = body.filter(|_| !head) else { return };
    match declared["content"].as_object() {
        None => assert!(
            body.is_empty() || path.starts_with("/assets/"),
            "{told} with a body that is not declared"
        ),
        Some(content) => {
            let content = content.get(kind).unwrap_or_else(|| panic!("{told}: another type is declared"));
            if kind.ends_with("json") {
                let value: Value = serde_json::from_slice(body).unwrap();
                fits(&content["schema"], &value).unwrap_or_else(|words| panic!("{told}: {words}: {value:#}"));
            }
        }
    }
}

/// What is declared for a path: its own name, else a template.
fn item(path: &str) -> Option<&'static Value> {
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let matches = |template: &str| {
        let (mut asked, mut pieces) = (path.split('/'), template.split('/'));
        template == "/assets/{path}" && path.starts_with("/assets/")
            || pieces.by_ref().all(|piece| {
                asked.next().is_some_and(|one| piece == one || piece.starts_with('{') && !one.is_empty())
            }) && asked.next().is_none()
    };
    paths.get(path).or_else(|| paths.iter().find(|(template, _)| matches(template)).map(|(_, item)| item))
}

#[test]
fn the_document_is_whole_and_of_this_version() {
    assert_eq!(DOCUMENT["openapi"], "3.1.0");
    assert_eq!(DOCUMENT["info"]["version"], env!("CARGO_PKG_VERSION"));
    let mut references = 0;
    let mut names = BTreeSet::new();
    each(&DOCUMENT, &mut |value| {
        if let Some(to) = value["$ref"].as_str() {
            references += 1;
            assert!(DOCUMENT.pointer(&to[1..]).is_some(), "nothing is at `{to}`");
        }
        if let Some(id) = value["operationId"].as_str() {
            assert!(names.insert(id.to_owned()), "two operations are called `{id}`");
        }
    });
    assert!(references > 100 && names.len() > 40, "{references} references, {} operations", names.len());
    for (path, item) in DOCUMENT["paths"].as_object().unwrap() {
        let named: Vec<_> = path.split('{').skip(1).map(|rest| rest.split('}').next().unwrap()).collect();
        let declared: Vec<_> = item["parameters"].as_array().into_iter().flatten().collect();
        let of_operations = item
            .as_object()
            .unwrap()
            .values()
            .flat_map(|operation| operation["parameters"].as_array().into_iter().flatten());
        let all: BTreeSet<_> = declared
            .into_iter()
            .chain(of_operations)
            .collect::<Vec<_>>()
            .into_iter()
            .filter(|parameter| parameter["in"] == "path")
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        assert_eq!(all, named.into_iter().collect(), "{path}");
    }
}

#[test]
fn every_route_is_declared() {
    let mut routes = BTreeSet::new();
    let entries = std::fs::read_dir(source("src/http")).unwrap().map(|entry| entry.unwrap().path());
    // Routes stand in files; folders hold what several of them need.
    for file in entries.filter(|path| path.is_file()) {
        let text = std::fs::read_to_string(file).unwrap();
        let named = |from: &str| {
            text.split(from)
                .skip(1)
                .map(|rest| rest.split('"').next().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        routes.extend(named(".route(\""));
        for endpoint in named("ENDPOINT: &'static str = \"") {
            routes.extend([format!("{endpoint}/{{stream}}"), format!("{endpoint}/session/{{id}}"), endpoint]);
        }
    }
    let declared: BTreeSet<_> = DOCUMENT["paths"].as_object().unwrap().keys().cloned().collect();
    let routes: BTreeSet<_> = routes.into_iter().map(|route| route.replace("{*", "{")).collect();
    assert_eq!(routes, declared);
}

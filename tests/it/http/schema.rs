//! As much of JSON Schema (2020-12) as the OpenAPI document uses; a keyword that is not known here fails the test. What
//! reads the document in full is Schemathesis, which the same tests run where it is installed.

use std::collections::BTreeSet;

use serde_json::Value;

/// Says where `value` is not as `schema` has it. Names of an object's members that were looked at go into `known`.
pub(super) fn fits(
    components: &Value,
    schema: &Value,
    value: &Value,
    known: &mut BTreeSet<String>,
) -> Result<(), String> {
    let members = schema.as_object().ok_or_else(|| format!("`{schema}` is no schema"))?;
    for (keyword, rule) in members {
        match keyword.as_str() {
            "description" | "default" | "properties" | "additionalProperties" | "unevaluatedProperties" => {}
            "$ref" => fits(components, target(components, rule)?, value, known)?,
            "allOf" => {
                each(rule).try_for_each(|schema| fits(components, schema, value, known))?;
            }
            "anyOf" => {
                let mut reasons = Vec::new();
                let fitting = each(rule).find_map(|schema| {
                    let mut found = BTreeSet::new();
                    let fitted = fits(components, schema, value, &mut found);
                    fitted.map_err(|reason| reasons.push(reason)).ok().map(|()| found)
                });
                known.extend(fitting.ok_or_else(|| format!("none of: {}", reasons.join(" | ")))?);
            }
            "type" => {
                let fitting = rule.as_str().into_iter().chain(each(rule).filter_map(Value::as_str));
                if !fitting.clone().any(|name| is(name, value)) {
                    return Err(format!("`{value:.60}` is not {rule}"));
                }
            }
            "enum" => {
                if !each(rule).any(|one| one == value) && !value.is_null() {
                    return Err(format!("`{value}` is not one of {rule}"));
                }
            }
            "minimum" => {
                if value.as_f64().is_some_and(|value| Some(value) < rule.as_f64()) {
                    return Err(format!("{value} is below {rule}"));
                }
            }
            "minItems" | "maxItems" => {
                let (count, limit) = (value.as_array().map_or(0, Vec::len) as u64, rule.as_u64().unwrap());
                if if keyword == "minItems" { count < limit } else { count > limit } {
                    return Err(format!("{count} items, {keyword} {limit}"));
                }
            }
            "items" => {
                for (at, item) in each(value).enumerate() {
                    fits(components, rule, item, &mut BTreeSet::new())
                        .map_err(|words| format!("[{at}]: {words}"))?;
                }
            }
            "required" => {
                for name in each(rule).filter_map(Value::as_str) {
                    if value.is_object() && value.get(name).is_none() {
                        return Err(format!("`{name}` is missing"));
                    }
                }
            }
            other => return Err(format!("tests/it/http/schema.rs does not know `{other}`")),
        }
    }
    let Some(object) = value.as_object() else { return Ok(()) };
    for (name, member) in object {
        let schema = match schema["properties"].get(name) {
            None => members.get("additionalProperties"),
            found => found,
        };
        if let Some(schema) = schema {
            fits(components, schema, member, &mut BTreeSet::new())
                .map_err(|words| format!(".{name}: {words}"))?;
            known.insert(name.clone());
        }
    }
    if members.get("unevaluatedProperties") == Some(&Value::Bool(false)) {
        let unknown: Vec<_> = object.keys().filter(|name| !known.contains(*name)).collect();
        if !unknown.is_empty() {
            return Err(format!("{unknown:?} are not declared"));
        }
    }
    Ok(())
}

fn target<'a>(components: &'a Value, reference: &Value) -> Result<&'a Value, String> {
    let path = reference.as_str().and_then(|to| to.strip_prefix("#/components"));
    path.and_then(|path| components.pointer(path)).ok_or_else(|| format!("nothing is at {reference}"))
}

fn each(value: &Value) -> impl Iterator<Item = &Value> + Clone {
    value.as_array().into_iter().flatten()
}

fn is(name: &str, value: &Value) -> bool {
    match name {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        _ => false,
    }
}

#[test]
fn what_does_not_fit_is_found() {
    let components = serde_json::json!({"schemas": {
        "part": {"type": "object", "required": ["n"], "properties": {"n": {"type": ["integer", "null"], "minimum": 0}}},
        "whole": {
            "allOf": [{"$ref": "#/components/schemas/part"}],
            "required": ["list"],
            "properties": {"list": {"type": "array", "maxItems": 2, "items": {"enum": ["a", "b"]}}},
            "unevaluatedProperties": false,
        },
    }});
    let whole = serde_json::json!({"$ref": "#/components/schemas/whole"});
    for (text, wrong) in [
        (r#"{"n": 1, "list": ["a", "b"]}"#, None),
        (r#"{"n": null, "list": []}"#, None),
        (r#"{"n": -1, "list": []}"#, Some("below")),
        (r#"{"n": 1.5, "list": []}"#, Some("is not")),
        (r#"{"list": []}"#, Some("`n` is missing")),
        (r#"{"n": 1}"#, Some("`list` is missing")),
        (r#"{"n": 1, "list": ["c"]}"#, Some("[0]: ")),
        (r#"{"n": 1, "list": ["a", "a", "a"]}"#, Some("3 items")),
        (r#"{"n": 1, "list": [], "more": 1}"#, Some("more")),
    ] {
        let said = fits(&components, &whole, &serde_json::from_str(text).unwrap(), &mut BTreeSet::new());
        match wrong {
            None => assert_eq!(said, Ok(()), "{text}"),
            Some(words) => assert!(said.as_ref().is_err_and(|said| said.contains(words)), "{text}: {said:?}"),
        }
    }
}

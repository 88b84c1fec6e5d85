//! Does this box have the element, the property, and does the property take the value?

use super::fragment::{ElementPart, Fragment};
use super::{Inventory, Node, PlanError, Property, PropertyKind, Role, Unusable, Value, graph};
use crate::config::parse::nearest;

/// What is wrong with a node on this box.
pub(super) fn node(node: &Node, fragments: &[&Fragment], inventory: &Inventory) -> Vec<PlanError> {
    let names = |part: &ElementPart| part.factories().any(|factory| factory == node.factory);
    let owner = fragments.iter().find(|fragment| fragment.elements.iter().any(names));
    if !inventory.elements.contains_key(&node.factory) {
        let package = graph::package(&node.factory, fragments);
        return vec![PlanError::NoElement {
            fragment: owner.map_or("capcast", |fragment| &fragment.name).to_owned(),
            element: node.factory.clone(),
            installed: package.as_ref().is_some_and(|package| inventory.packages.contains(package)),
            package,
            hardware: owner.filter(|_| node.role == Role::Encoder).and_then(|f| f.hardware.clone()),
        }];
    }
    if let Some(Unusable { reason, package }) =
        inventory.elements.get(&node.factory).and_then(|element| element.unusable.clone())
    {
        let fragment = owner.map_or("capcast", |fragment| &fragment.name).to_owned();
        return vec![PlanError::Unusable { fragment, reason, package }];
    }
    let place = owner.map_or("Capcast itself", |fragment| &fragment.file);
    properties(place, &node.factory, &node.properties, inventory)
}

/// What is wrong with properties that are to be set on an element.
pub(super) fn properties(
    place: &str,
    factory: &str,
    properties: &[(String, Value)],
    inventory: &Inventory,
) -> Vec<PlanError> {
    let Some(element) = inventory.elements.get(factory) else { return Vec::new() };
    if element.properties.is_empty() {
        return Vec::new();
    }
    let judge = |(name, value): &(String, Value)| match element.properties.get(name) {
        Some(property) => expected(property, value).map(|expected| PlanError::WrongValue {
            place: place.to_owned(),
            element: factory.to_owned(),
            property: name.clone(),
            found: shown(value),
            expected,
        }),
        None => Some(PlanError::UnknownProperty {
            place: place.to_owned(),
            element: factory.to_owned(),
            property: name.clone(),
            nearest: nearest(name, element.properties.keys().map(String::as_str)).map(str::to_owned),
        }),
    };
    properties.iter().filter_map(judge).collect()
}

/// What the property takes, if it does not take the value.
fn expected(property: &Property, value: &Value) -> Option<String> {
    if !property.writable {
        return Some("nothing: it can only be read".to_owned());
    }
    let known = |nick: &str, nicks: &[String]| nicks.iter().any(|known| known == nick);
    match (&property.kind, value) {
        (PropertyKind::Bool, Value::Bool(_)) | (PropertyKind::Text, Value::Text(_)) => None,
        (PropertyKind::Other(_), Value::Text(_)) => None,
        (PropertyKind::Integer { min, max }, Value::Integer(n))
            if (*min..=*max).contains(&i128::from(*n)) =>
        {
            None
        }
        (PropertyKind::Float { min, max }, Value::Float(n)) if (*min..=*max).contains(n) => None,
        (PropertyKind::Float { min, max }, Value::Integer(n)) if (*min..=*max).contains(&(*n as f64)) => None,
        (PropertyKind::Enum(nicks), Value::Text(nick)) if known(nick, nicks) => None,
        (PropertyKind::Flags(nicks), Value::Text(all)) if all.split('+').all(|nick| known(nick, nicks)) => {
            None
        }
        (PropertyKind::Bool, _) => Some("`true` or `false`".to_owned()),
        (PropertyKind::Integer { min, max }, _) => Some(format!("a whole number from {min} to {max}")),
        (PropertyKind::Float { min, max }, _) => Some(format!("a number from {min} to {max}")),
        (PropertyKind::Text, _) => Some("text".to_owned()),
        (PropertyKind::Enum(nicks), _) => Some(format!("one of `\"{}\"`", nicks.join("\"`, `\""))),
        (PropertyKind::Flags(nicks), _) => Some(format!("any of `{}`, joined by `+`", nicks.join("`, `"))),
        (PropertyKind::Other(name), _) => Some(format!("text that GStreamer reads as {name}")),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Text(text) => format!("`\"{text}\"`"),
        other => format!("`{other}`"),
    }
}

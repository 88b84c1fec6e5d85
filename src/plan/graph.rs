//! Graphs from parts: fragments' elements, the nodes that Capcast itself adds, ids.

use super::fragment::{ElementPart, Fragment};
use super::term::Setting;
use super::{Inventory, Link, Node, PlanError, QueueClass, Role, Value, check};

/// Elements that a plan adds by itself.
pub(super) const FACTORIES: [&str; 10] = [
    "appsink",
    "appsrc",
    "capsfilter",
    "capssetter",
    "fakesink",
    "identity",
    "tee",
    "videoconvert",
    "videorate",
    "videoscale",
];

/// Nodes and links in the making; each new node is fed by the one before.
#[derive(Debug, Default)]
pub(super) struct Draft {
    nodes: Vec<Node>,
    links: Vec<Link>,
    /// The node that feeds the next one.
    end: Option<String>,
}

impl Draft {
    /// Adds an element.
    pub(super) fn push(&mut self, factory: &str, role: Role, properties: Vec<(&str, Value)>) -> &str {
        let properties = properties.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        self.push_owned(factory, role, properties)
    }

    /// Adds a fragment's element, if it is wanted here.
    pub(super) fn push_part(&mut self, part: &ElementPart, setting: &Setting<'_>) {
        if !part.when.iter().all(|condition| setting.holds(condition)) {
            return;
        }
        let value = |(name, term): &(String, _)| Some((name.clone(), setting.value(term)?));
        let properties = part.properties.iter().filter_map(value).collect();
        let here = part.factories().find(|factory| setting.inventory.elements.contains_key(*factory));
        self.push_owned(here.unwrap_or(&part.factory), part.role, properties);
    }

    /// Adds a `capsfilter`.
    pub(super) fn push_caps(&mut self, caps: String) {
        self.push("capsfilter", Role::Plain, vec![("caps", Value::Text(caps))]);
    }

    /// Adds an `appsrc` by which raw media enters. It holds what its class allows and makes the hub wait beyond that.
    pub(super) fn push_from_hub(&mut self, class: &QueueClass) {
        self.push(
            "appsrc",
            Role::FromHub,
            vec![
                ("is-live", Value::Bool(true)),
                ("format", Value::Text("time".to_owned())),
                ("block", Value::Bool(true)),
                ("emit-signals", Value::Bool(false)),
                ("max-buffers", integer(class.buffers)),
                ("max-time", integer(class.time.as_nanos())),
                ("max-bytes", integer(class.bytes)),
            ],
        );
    }

    /// Adds an `appsrc` by which what arrives over the network enters encoded. Its writer never waits.
    pub(super) fn push_from_network(&mut self, class: &QueueClass) {
        self.push(
            "appsrc",
            Role::Source,
            vec![
                ("is-live", Value::Bool(true)),
                ("format", Value::Text("time".to_owned())),
                ("block", Value::Bool(false)),
                ("emit-signals", Value::Bool(false)),
                ("handle-segment-change", Value::Bool(true)),
                ("max-buffers", integer(class.buffers)),
                ("max-time", integer(class.time.as_nanos())),
                ("max-bytes", integer(class.bytes)),
            ],
        );
    }

    /// Adds an `appsink`. It holds the one sample that its callback takes at once: capacity is the consumer's.
    pub(super) fn push_sink(&mut self, role: Role) {
        let mut properties = vec![
            ("sync", Value::Bool(false)),
            ("async", Value::Bool(false)),
            ("drop", Value::Bool(false)),
            ("max-buffers", Value::Integer(1)),
            // A kept sample would keep a buffer of the driver's pool.
            ("enable-last-sample", Value::Bool(false)),
            ("wait-on-eos", Value::Bool(false)),
        ];
        if role == Role::Rtp {
            // All packets of a frame in one go.
            properties.push(("buffer-list", Value::Bool(true)));
        }
        self.push("appsink", role, properties);
    }

    /// The node added last.
    pub(super) fn end(&self) -> Option<String> {
        self.end.clone()
    }

    /// Lets the next node be fed by this one.
    pub(super) fn go_on_from(&mut self, id: Option<String>) {
        self.end = id;
    }

    /// The finished graph with its one `heart` (source or encoder), or what this box lacks for it.
    pub(super) fn finish(
        self,
        heart: Role,
        fragments: &[&Fragment],
        inventory: &Inventory,
    ) -> Result<(Vec<Node>, Vec<Link>), Vec<PlanError>> {
        let hearts = self.nodes.iter().filter(|node| node.role == heart).count();
        if hearts != 1 {
            let reason = format!("its conditions leave {hearts} elements with the role `{}`", heart.as_str());
            let fragment = fragments.first().map_or_else(String::new, |fragment| fragment.name.clone());
            return Err(vec![PlanError::Unfit { fragment, reason }]);
        }
        let errors: Vec<PlanError> =
            self.nodes.iter().flat_map(|node| check::node(node, fragments, inventory)).collect();
        if errors.is_empty() { Ok((self.nodes, self.links)) } else { Err(errors) }
    }

    fn push_owned(&mut self, factory: &str, role: Role, properties: Vec<(String, Value)>) -> &str {
        let id = self.free_id(if role == Role::Plain { factory } else { role.as_str() });
        if let Some(from) = self.end.replace(id.clone()) {
            self.links.push(Link { from, to: id.clone() });
        }
        self.nodes.push(Node { id, factory: factory.to_owned(), role, properties });
        self.end.as_deref().unwrap_or_default()
    }

    fn free_id(&self, wanted: &str) -> String {
        let taken = |id: &str| self.nodes.iter().any(|node| node.id == id);
        if !taken(wanted) {
            return wanted.to_owned();
        }
        (2..).map(|n| format!("{wanted}-{n}")).find(|id| !taken(id)).unwrap_or_default()
    }
}

/// The Debian package that has an element.
pub(super) fn package(factory: &str, fragments: &[&Fragment]) -> Option<String> {
    let named = fragments.iter().find_map(|fragment| fragment.packages.get(factory)).cloned();
    named.or_else(|| match factory {
        "capsfilter" | "fakesink" | "identity" | "tee" => Some("libgstreamer1.0-0".to_owned()),
        "capssetter" => Some("gstreamer1.0-plugins-good".to_owned()),
        _ if FACTORIES.contains(&factory) => Some("gstreamer1.0-plugins-base".to_owned()),
        _ => None,
    })
}

fn integer<T: TryInto<i64>>(number: T) -> Value {
    Value::Integer(number.try_into().unwrap_or(i64::MAX))
}

//! The topics, and what they are called.
//!
//! Ids of tenants may hold what names of topics must not: `:`; and `.`, which brokers
//! take for the same as `_` when a topic is created. So a name holds `--d` for `.`,
//! `--c` for `:`, and `--h` for a `-` that would read as the begin of either. Most ids
//! are as they are.

use funnelweb_core::id;

use crate::error::Error;

/// What a broker allows.
const NAME_BYTES: usize = 249;

const BEHAVIORS: &str = "user-behaviors-";
const DEAD: &str = "dead-";
const PROFILE_UPDATES: &str = "user-profile-updates";
const ITEM_STATS: &str = "item-stats-updates";
const METRICS: &str = "recommendation-metrics";

/// A topic of the design; what is said of tenants is their ids.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// `user-behaviors-{tenant}`: what the tenant's users did. Keyed by user.
    Behaviors(String),
    /// `user-behaviors-dead-{tenant}`: behaviours that could not be aggregated.
    DeadBehaviors(String),
    /// `user-profile-updates`.
    ProfileUpdates,
    /// `item-stats-updates`.
    ItemStats,
    /// `recommendation-metrics`.
    Metrics,
}

impl Topic {
    /// The topic of all tenants that is called so, without a prefix.
    #[must_use]
    pub fn of_all(name: &str) -> Option<Self> {
        match name {
            PROFILE_UPDATES => Some(Self::ProfileUpdates),
            ITEM_STATS => Some(Self::ItemStats),
            METRICS => Some(Self::Metrics),
            _ => None,
        }
    }
}

/// A part of a topic, in which records have an order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic.
    pub topic: Topic,
    /// Counted from 0.
    pub partition: u32,
}

/// Between topics and their names.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    prefix: String,
}

impl Names {
    pub(crate) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// What begins all names.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The topic's name; [`Error::Invalid`] when the tenant's id is none, or too long
    /// for one.
    pub(crate) fn of(&self, topic: &Topic) -> Result<String, Error> {
        let prefix = &self.prefix;
        let name = match topic {
            Topic::Behaviors(tenant) => format!("{prefix}{BEHAVIORS}{}", encode(tenant)?),
            Topic::DeadBehaviors(tenant) => format!("{prefix}{BEHAVIORS}{DEAD}{}", encode(tenant)?),
            Topic::ProfileUpdates => format!("{prefix}{PROFILE_UPDATES}"),
            Topic::ItemStats => format!("{prefix}{ITEM_STATS}"),
            Topic::Metrics => format!("{prefix}{METRICS}"),
        };
        if name.len() > NAME_BYTES {
            return Err(Error::invalid("topic", format_args!("its name is longer than {NAME_BYTES} bytes: {name}")));
        }
        Ok(name)
    }

    /// The topic of that name, if it is one of ours.
    pub(crate) fn topic(&self, name: &str) -> Option<Topic> {
        let name = name.strip_prefix(&self.prefix)?;
        if let Some(topic) = Topic::of_all(name) {
            return Some(topic);
        }
        let tenant = name.strip_prefix(BEHAVIORS)?;
        match tenant.strip_prefix(DEAD) {
            Some(tenant) => decode(tenant).map(Topic::DeadBehaviors),
            None => decode(tenant).map(Topic::Behaviors),
        }
    }

    /// Regular expressions, as the client knows them, for the names of the behaviours
    /// of all tenants: what they match, and what of that they are not.
    pub(crate) fn all_behaviors(&self) -> (String, String) {
        // Of what a prefix may hold, only a point means something else there.
        let prefix = self.prefix.replace('.', "\\.");
        (format!("^{prefix}{BEHAVIORS}[A-Za-z0-9_-]+$"), format!("^{prefix}{BEHAVIORS}{DEAD}"))
    }
}

fn encode(tenant: &str) -> Result<String, Error> {
    id::check(tenant).map_err(|rule| Error::invalid("tenant", rule))?;
    let mut name = String::with_capacity(tenant.len());
    // What would read as the dead letters of another tenant begins with nothing, marked.
    if tenant.starts_with(DEAD) {
        name.push_str("--e");
    }
    let mut characters = tenant.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '.' => name.push_str("--d"),
            ':' => name.push_str("--c"),
            '-' if characters.peek().is_some_and(|next| "-.:".contains(*next)) => name.push_str("--h"),
            other => name.push(other),
        }
    }
    Ok(name)
}

fn decode(name: &str) -> Option<String> {
    let mut tenant = String::with_capacity(name.len());
    let mut rest = name;
    while let Some((plain, escaped)) = rest.split_once("--") {
        tenant.push_str(plain);
        let mut characters = escaped.chars();
        match characters.next()? {
            'd' => tenant.push('.'),
            'c' => tenant.push(':'),
            'h' => tenant.push('-'),
            'e' => {}
            _ => return None,
        }
        rest = characters.as_str();
    }
    tenant.push_str(rest);
    // Only what we would have written ourselves.
    encode(&tenant).is_ok_and(|again| again == name).then_some(tenant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_names_are_those_of_the_design() {
        let names = Names::new("");
        let of = |topic: Topic| names.of(&topic).unwrap();
        assert_eq!(of(Topic::Behaviors("acme-shop_1".to_owned())), "user-behaviors-acme-shop_1");
        assert_eq!(of(Topic::DeadBehaviors("acme".to_owned())), "user-behaviors-dead-acme");
        assert_eq!(of(Topic::ProfileUpdates), "user-profile-updates");
        assert_eq!(of(Topic::ItemStats), "item-stats-updates");
        assert_eq!(of(Topic::Metrics), "recommendation-metrics");
        assert_eq!(Names::new("live.").of(&Topic::Metrics).unwrap(), "live.recommendation-metrics");
    }

    /// Every id of up to five of the characters that mean something, and some more.
    fn ids() -> Vec<String> {
        let mut ids = vec![String::new()];
        for _ in 0..5 {
            let longer = ids.iter().flat_map(|id| ["a", "-", ".", ":", "_", "d", "h"].map(|c| format!("{id}{c}")));
            ids = ids.iter().cloned().chain(longer).collect();
            ids.sort();
            ids.dedup();
        }
        let more = ["", "-", "--", "---", "-x", "-e", "--e", "x", "-dead-"].map(|end| format!("dead{end}"));
        ids.into_iter().chain(more).filter(|id| id::check(id).is_ok()).collect()
    }

    #[test]
    fn no_two_topics_share_a_name_nor_what_a_broker_takes_for_one() {
        let names = Names::new("p.");
        let mut seen = std::collections::HashSet::new();
        for id in ids() {
            for topic in [Topic::Behaviors(id.clone()), Topic::DeadBehaviors(id.clone())] {
                let name = names.of(&topic).unwrap();
                let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
                assert!(name.strip_prefix("p.").unwrap().bytes().all(legal), "{name}");
                assert_eq!(names.topic(&name), Some(topic), "{name}");
                assert!(seen.insert(name.replace('.', "_")), "{name} is there twice");
            }
        }
    }

    #[test]
    fn other_names_are_none_of_ours() {
        let names = Names::new("live.");
        for name in [
            "user-profile-updates",
            "live.other",
            "live.user-behaviors-",
            "live.user-behaviors-a.b",
            "live.user-behaviors-a--x",
            "live.user-behaviors-a--hb",
            "live.user-behaviors---ea",
            "live.user-behaviors-dead-",
        ] {
            assert_eq!(names.topic(name), None, "{name}");
        }
        let long = |bytes: usize| names.of(&Topic::DeadBehaviors("a".repeat(bytes)));
        assert!(long(id_bytes()).is_ok());
        assert!(matches!(long(id_bytes() + 1), Err(Error::Invalid(message)) if message.starts_with("tenant:")));
        let points = names.of(&Topic::Behaviors(".".repeat(id_bytes())));
        assert!(matches!(points, Err(Error::Invalid(message)) if message.starts_with("topic:")));
    }

    fn id_bytes() -> usize {
        funnelweb_core::limits::ID_BYTES
    }
}

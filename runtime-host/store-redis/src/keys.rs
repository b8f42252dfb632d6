//! The keys: those of design §3.2, and ours beside them.
//!
//! An id may hold `:`, which separates the parts of a key; a tenant's, user's or
//! scenario's is written with `%3A` for it, so that no two share a key. An id
//! without `:` makes exactly the documented key. What belongs to a documented key is named
//! `{<key>}:<what>`: a cluster hashes what is in braces, so both are on one node.

use funnelweb_tenant_store::Tenant;

/// Makes keys.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    prefix: String,
}

impl Keys {
    pub(crate) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// A ZSET of item ids.
    pub(crate) fn hot_items(&self, tenant: &Tenant, scenario_id: &str) -> String {
        format!("{}hot:items:{}:{}", self.prefix, part(tenant.as_str()), part(scenario_id))
    }

    /// A SET of item ids.
    pub(crate) fn exposed(&self, tenant: &Tenant, user_id: &str, scenario_id: &str) -> String {
        format!("{}exposed:{}:{}:{}", self.prefix, part(tenant.as_str()), part(user_id), part(scenario_id))
    }

    /// The pattern of the exposures of a scenario's users.
    pub(crate) fn exposed_in(&self, tenant: &Tenant, scenario_id: &str) -> String {
        format!("{}exposed:{}:*:{}", self.prefix, part(tenant.as_str()), part(scenario_id))
    }

    /// A HASH of counters.
    pub(crate) fn item_stats(&self, tenant: &Tenant, item_id: &str) -> String {
        // Nothing follows the item's id, so it may hold what it likes.
        format!("{}item:stats:{}:{item_id}", self.prefix, part(tenant.as_str()))
    }

    /// The patterns of what a tenant has: hot lists, exposures, counters.
    pub(crate) fn live_of(&self, tenant: &Tenant) -> [String; 3] {
        let tenant = part(tenant.as_str());
        ["hot:items", "exposed", "item:stats"].map(|what| format!("{}{what}:{tenant}:*", self.prefix))
    }

    /// The pattern of a tenant's key-value stores.
    pub(crate) fn key_values_of(&self, tenant: &Tenant) -> String {
        format!("{}kv:{}:*", self.prefix, part(tenant.as_str()))
    }

    /// JSON.
    pub(crate) fn scenario_config(&self, tenant: &Tenant, scenario_id: &str) -> String {
        format!("{}scenario:config:{}:{}", self.prefix, part(tenant.as_str()), part(scenario_id))
    }

    /// JSON.
    pub(crate) fn user_profile(&self, tenant: &Tenant, user_id: &str, scenario_id: &str) -> String {
        format!("{}user:profile:{}:{}:{}", self.prefix, part(tenant.as_str()), part(user_id), part(scenario_id))
    }

    /// The pattern of the profiles of a scenario's users.
    pub(crate) fn user_profiles_in(&self, tenant: &Tenant, scenario_id: &str) -> String {
        format!("{}user:profile:{}:*:{}", self.prefix, part(tenant.as_str()), part(scenario_id))
    }

    /// The pattern of the profiles of a user.
    pub(crate) fn user_profiles_of(&self, tenant: &Tenant, user_id: &str) -> String {
        format!("{}user:profile:{}:{}:*", self.prefix, part(tenant.as_str()), part(user_id))
    }

    /// JSON.
    pub(crate) fn result(&self, tenant: &Tenant, scenario_id: &str, user_id: &str, hash: &str) -> String {
        let tenant = part(tenant.as_str());
        format!("{}recommend:{tenant}:{}:{}:{hash}", self.prefix, part(scenario_id), part(user_id))
    }

    /// The pattern of the results of a user.
    pub(crate) fn results_of(&self, tenant: &Tenant, user_id: &str) -> String {
        format!("{}recommend:{}:*:{}:*", self.prefix, part(tenant.as_str()), part(user_id))
    }

    /// The pattern of the results of a scenario.
    pub(crate) fn results_in(&self, tenant: &Tenant, scenario_id: &str) -> String {
        format!("{}recommend:{}:{}:*", self.prefix, part(tenant.as_str()), part(scenario_id))
    }

    /// The keys of a tenant's jobs.
    pub(crate) fn jobs(&self, tenant: &Tenant) -> JobKeys {
        let runs = format!("{}jobs:{}", self.prefix, part(tenant.as_str()));
        JobKeys { jobs: beside(&runs, "jobs"), order: beside(&runs, "runs"), runs }
    }

    /// A ZSET of the tenants that may have runs of jobs at work.
    pub(crate) fn jobs_tenants(&self) -> String {
        format!("{}jobs", self.prefix)
    }

    /// A HASH of values.
    pub(crate) fn key_values(&self, tenant: &Tenant, label: &str) -> String {
        format!("{}kv:{}:{}", self.prefix, part(tenant.as_str()), part(label))
    }
}

/// The keys of a tenant's jobs, which are all on one node.
#[derive(Debug, Clone)]
pub(crate) struct JobKeys {
    /// A HASH of runs.
    pub(crate) runs: String,
    /// A HASH of what is kept of each job.
    pub(crate) jobs: String,
    /// A ZSET of the ids of runs.
    pub(crate) order: String,
}

impl JobKeys {
    /// A ZSET of the ids of one job's runs.
    pub(crate) fn of_job(&self, job: &str) -> String {
        beside(&self.runs, &format!("runs:{job}"))
    }

    /// What the job's run keeps.
    pub(crate) fn checkpoint(&self, job: &str) -> String {
        beside(&self.runs, &format!("checkpoint:{job}"))
    }

    /// All that a change of a job's runs may be about.
    pub(crate) fn all(&self, job: &str) -> [String; 5] {
        [self.runs.clone(), self.jobs.clone(), self.order.clone(), self.of_job(job), self.checkpoint(job)]
    }
}

/// A key of ours that goes with `key`.
pub(crate) fn beside(key: &str, what: &str) -> String {
    format!("{{{key}}}:{what}")
}

/// What stands for the `*` of a pattern of [`Keys::live_of`] or
/// [`Keys::key_values_of`] in a key.
pub(crate) fn rest<'a>(key: &'a str, pattern: &str) -> Option<&'a str> {
    key.strip_prefix(pattern.strip_suffix('*')?)
}

/// The id of which a key has a part.
pub(crate) fn whole(part: &str) -> String {
    part.replace("%3A", ":")
}

fn part(id: &str) -> String {
    // No id holds a `%`.
    id.replace(':', "%3A")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use redis::cluster_routing::Slot;

    fn tenant(id: &str) -> Tenant {
        Tenant::new(id).unwrap()
    }

    #[test]
    fn ordinary_ids_make_the_documented_keys() {
        let (keys, t) = (Keys::new(""), tenant("acme"));
        assert_eq!(keys.hot_items(&t, "feed"), "hot:items:acme:feed");
        assert_eq!(keys.exposed(&t, "ann", "feed"), "exposed:acme:ann:feed");
        assert_eq!(keys.item_stats(&t, "item_1"), "item:stats:acme:item_1");
        assert_eq!(keys.scenario_config(&t, "feed"), "scenario:config:acme:feed");
        assert_eq!(keys.user_profile(&t, "ann", "feed"), "user:profile:acme:ann:feed");
        assert_eq!(keys.key_values(&t, "default"), "kv:acme:default");
        assert_eq!(keys.result(&t, "feed", "ann", "1f"), "recommend:acme:feed:ann:1f");
        assert_eq!(keys.result(&t, "feed", "", "1f"), "recommend:acme:feed::1f");
        assert_eq!(
            keys.jobs(&t).all("feed/sync"),
            ["", ":jobs", ":runs", ":runs:feed/sync", ":checkpoint:feed/sync"].map(|what| match what {
                "" => "jobs:acme".to_owned(),
                what => format!("{{jobs:acme}}{what}"),
            })
        );
        assert_eq!(Keys::new("shop:").hot_items(&t, "feed"), "shop:hot:items:acme:feed");
    }

    #[test]
    fn ids_are_read_back_from_keys() {
        let (keys, t) = (Keys::new("p:"), tenant("a:b"));
        let [hot, exposed, stats] = keys.live_of(&t);
        assert_eq!(rest(&keys.hot_items(&t, "c:d"), &hot).map(whole), Some("c:d".to_owned()));
        assert_eq!(rest(&keys.exposed(&t, "u:v", "c"), &exposed), Some("u%3Av:c"));
        assert_eq!(rest(&keys.item_stats(&t, "i:j"), &stats), Some("i:j"));
        assert_eq!(rest(&keys.key_values(&t, "l"), &keys.key_values_of(&t)), Some("l"));
        assert_eq!(rest(&keys.hot_items(&tenant("a"), "c"), &hot), None);
    }

    fn id() -> impl Strategy<Value = String> {
        // Short and full of colons: so that they would collide.
        "[a:.-]{1,6}".prop_filter("an id", |id| funnelweb_core::id::check(id).is_ok())
    }

    /// Every key of these ids.
    fn all(keys: &Keys, t: &str, a: &str, b: &str) -> Vec<String> {
        let t = &tenant(t);
        vec![
            keys.hot_items(t, a),
            keys.exposed(t, a, b),
            keys.item_stats(t, a),
            keys.scenario_config(t, a),
            keys.user_profile(t, a, b),
            keys.key_values(t, a),
            keys.jobs(t).runs,
            keys.result(t, a, b, "1f"),
        ]
    }

    proptest! {
        #[test]
        fn no_two_make_one_key(one in (id(), id(), id()), other in (id(), id(), id())) {
            let keys = Keys::new("p:");
            let (first, second) =
                (all(&keys, &one.0, &one.1, &one.2), all(&keys, &other.0, &other.1, &other.2));
            for (at, key) in first.iter().enumerate() {
                for (other_at, other_key) in second.iter().enumerate() {
                    let same_ids = one.0 == other.0 && one.1 == other.1 && (one.2 == other.2 || ![1, 4, 7].contains(&at))
                        || at == 6 && one.0 == other.0;
                    prop_assert_eq!(key == other_key, at == other_at && same_ids, "{} {}", key, other_key);
                    prop_assert_ne!(&beside(key, "x"), other_key);
                    prop_assert_ne!(&keys.jobs_tenants(), other_key);
                }
            }
        }

        #[test]
        fn what_goes_with_a_key_is_in_its_slot(t in id(), a in id(), b in id()) {
            for key in all(&Keys::new("p:"), &t, &a, &b) {
                prop_assert_eq!(Slot::for_key(&key), Slot::for_key(beside(&key, "batch:0")));
            }
        }
    }
}

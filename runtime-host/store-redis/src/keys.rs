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

    /// A HASH of values.
    pub(crate) fn key_values(&self, tenant: &Tenant, label: &str) -> String {
        format!("{}kv:{}:{}", self.prefix, part(tenant.as_str()), part(label))
    }
}

/// A key of ours that goes with `key`.
pub(crate) fn beside(key: &str, what: &str) -> String {
    format!("{{{key}}}:{what}")
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
        assert_eq!(Keys::new("shop:").hot_items(&t, "feed"), "shop:hot:items:acme:feed");
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
                    let same_ids = one.0 == other.0 && one.1 == other.1 && (one.2 == other.2 || ![1, 4].contains(&at));
                    prop_assert_eq!(key == other_key, at == other_at && same_ids, "{} {}", key, other_key);
                    prop_assert_ne!(&beside(key, "x"), other_key);
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

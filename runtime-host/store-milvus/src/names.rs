//! The names of collections.
//!
//! `<prefix><tenant and scenario><_><space>`, where tenant and scenario are 128 bits of
//! SHA-256 in hexadecimal, as ids may be too long for a name, and tenants that choose
//! ids cannot make two meet. A space is spelled out: letters and digits are themselves,
//! all else is `_` and two hexadecimal digits.

use std::fmt::Write as _;

use funnelweb_tenant_store::Tenant;
use sha2::{Digest as _, Sha256};

/// What the names of a scenario's collections begin with.
pub(crate) fn scenario(prefix: &str, tenant: &Tenant, scenario_id: &str) -> String {
    // No id has a `/` in it.
    let hash = Sha256::digest(format!("{tenant}/{scenario_id}"));
    let mut name = prefix.to_owned();
    for byte in hash.iter().take(16) {
        // Writing to a text does not fail.
        let _ = write!(name, "{byte:02x}");
    }
    name.push('_');
    name
}

/// The name of a space's collection.
pub(crate) fn collection(prefix: &str, tenant: &Tenant, scenario_id: &str, space: &str) -> String {
    let mut name = scenario(prefix, tenant, scenario_id);
    for character in space.chars() {
        if character.is_ascii_alphanumeric() {
            name.push(character);
        } else {
            let _ = write!(name, "_{:02x}", u32::from(character));
        }
    }
    name
}

/// The space of a collection of the scenario with this beginning.
pub(crate) fn space(beginning: &str, name: &str) -> Option<String> {
    let mut rest = name.strip_prefix(beginning)?.chars();
    let mut space = String::new();
    while let Some(character) = rest.next() {
        if character == '_' {
            let digits = [rest.next()?, rest.next()?].map(|digit| digit.to_digit(16));
            let [Some(high), Some(low)] = digits else { return None };
            space.push(char::from_u32(16 * high + low)?);
        } else {
            space.push(character);
        }
    }
    Some(space)
}

#[cfg(test)]
mod tests {
    use funnelweb_core::limits;

    use super::*;

    #[test]
    fn a_space_is_read_back_from_its_name() {
        let tenant = Tenant::new(&"t".repeat(limits::ID_BYTES)).unwrap();
        let feed = "s".repeat(limits::ID_BYTES);
        let prefix = "p".repeat(24);
        let beginning = scenario(&prefix, &tenant, &feed);
        for spelled in ["embedding", "factors-items@17", "a_b.c:d", &"@".repeat(limits::SPACE_NAME_BYTES)] {
            let name = collection(&prefix, &tenant, &feed, spelled);
            assert!(
                name.len() <= 255 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'),
                "{name}"
            );
            assert_eq!(space(&beginning, &name).as_deref(), Some(spelled));
        }
        for other in ["x", "p", &format!("{beginning}_4"), &format!("{beginning}_zz")] {
            assert_eq!(space(&beginning, other), None, "{other}");
        }
    }

    #[test]
    fn tenants_and_scenarios_do_not_meet() {
        let name = |tenant: &str, feed: &str, space: &str| collection("", &Tenant::new(tenant).unwrap(), feed, space);
        assert_ne!(name("a", "b.c", "d"), name("a.b", "c", "d"));
        assert_ne!(name("a", "b", "c_2e"), name("a", "b", "c."));
        assert_ne!(name("a", "b", "c"), name("a", "b", "C"));
    }
}

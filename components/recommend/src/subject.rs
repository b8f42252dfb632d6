//! Who asks, as experiments tell users apart.

use std::ops::Deref;

use funnelweb_core::experiment::{Origin, Subject};
use funnelweb_guest::types::{Attribute, User};

/// Fields of the context that tell whom no id tells apart, the first that is there.
const ANONYMOUS: [&str; 4] = ["device_id", "device.id", "session_id", "session.id"];

/// Whose slate it is.
pub(crate) struct Asking<'a, U> {
    unit: &'a str,
    /// Made when it is looked at: most need it for its id only.
    user: &'a U,
    context: &'a [Attribute],
}

impl<'a, U: Deref<Target = User>> Asking<'a, U> {
    /// A user with this id.
    pub(crate) fn user(id: &'a str, user: &'a U, context: &'a [Attribute]) -> Self {
        Self { unit: id, user, context }
    }

    /// Somebody without one: a device, else a session.
    pub(crate) fn session(user: &'a U, context: &'a [Attribute]) -> Self {
        let named = |name: &&str| values(context, name)?.first().filter(|id| !id.is_empty());
        let unit = ANONYMOUS.iter().find_map(named).map_or("", String::as_str);
        Self { unit, user, context }
    }
}

impl<U: Deref<Target = User>> Subject for Asking<'_, U> {
    fn unit(&self) -> &str {
        self.unit
    }

    fn has(&self, origin: Origin, field: &str, among: &[String]) -> bool {
        let attributes = match origin {
            Origin::User => &self.user.attributes,
            Origin::Context => self.context,
        };
        values(attributes, field).is_some_and(|values| values.iter().any(|value| among.contains(value)))
    }
}

fn values<'a>(attributes: &'a [Attribute], name: &str) -> Option<&'a [String]> {
    attributes.iter().find(|attribute| attribute.name == name).map(|attribute| attribute.values.as_slice())
}

//! What blobs and spaces are called.

/// Below it lies everything that was learned of a scenario.
#[must_use]
pub fn folder(scenario_id: &str) -> String {
    format!("learned/{scenario_id}")
}

/// The blob of a [`Similarity`](crate::Similarity).
#[must_use]
pub fn similarity(scenario_id: &str) -> String {
    format!("learned/{scenario_id}/similarity")
}

/// The blob of [`Factors`](crate::Factors).
#[must_use]
pub fn factors(scenario_id: &str) -> String {
    format!("learned/{scenario_id}/factors")
}

/// The blob of [`Slates`](crate::Slates).
#[must_use]
pub fn slates(scenario_id: &str) -> String {
    format!("learned/{scenario_id}/slates")
}

/// The blob of a training that is not done.
#[must_use]
pub fn checkpoint(scenario_id: &str) -> String {
    format!("learned/{scenario_id}/checkpoint")
}

/// The blob that says when the training of the same version of `name` began to read:
/// milliseconds since 1970, as a u64.
#[must_use]
pub fn began(name: &str) -> String {
    format!("{name}-began")
}

/// Below it lies what was learned of all scenarios.
pub(crate) const LEARNED: &str = "learned";

/// The scenario of the blob of a model.
pub(crate) fn scenario_of(model: &str) -> Option<&str> {
    let (scenario_id, kind) = model.strip_prefix(LEARNED)?.strip_prefix('/')?.split_once('/')?;
    matches!(kind, "similarity" | "factors").then_some(scenario_id)
}

/// Below it lie the marks of users who were deleted.
pub(crate) const GONE: &str = "deleted-users";

/// The mark of a user.
pub(crate) fn gone(user: u64) -> String {
    format!("{GONE}/{user:016x}")
}

/// Whose mark it is.
pub(crate) fn gone_user(name: &str) -> Option<u64> {
    u64::from_str_radix(name.strip_prefix(GONE)?.strip_prefix('/')?, 16).ok()
}

const ITEMS: &str = "factors-items@";
const USERS: &str = "factors-users@";

/// The spaces of the vectors of a version's items and users.
pub(crate) fn spaces(version: u64) -> [String; 2] {
    [format!("{ITEMS}{version}"), format!("{USERS}{version}")]
}

/// Whether the space has users' vectors of a version.
pub(crate) fn is_of_users(space: &str) -> bool {
    space.starts_with(USERS)
}

/// The version whose vectors a space has; none for other spaces.
pub(crate) fn version_of(space: &str) -> Option<u64> {
    space.strip_prefix(ITEMS).or_else(|| space.strip_prefix(USERS))?.parse().ok()
}

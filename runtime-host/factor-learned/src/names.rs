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

const ITEMS: &str = "factors-items@";
const USERS: &str = "factors-users@";

/// The spaces of the vectors of a version's items and users.
pub(crate) fn spaces(version: u64) -> [String; 2] {
    [format!("{ITEMS}{version}"), format!("{USERS}{version}")]
}

/// The version whose vectors a space has; none for other spaces.
pub(crate) fn version_of(space: &str) -> Option<u64> {
    space.strip_prefix(ITEMS).or_else(|| space.strip_prefix(USERS))?.parse().ok()
}

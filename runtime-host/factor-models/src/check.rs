//! What an upload must be beside what the ranker's component checks, and a refusal in
//! terms of the upload.

use funnelweb_bindings::{
    stages::model::{LoadError, LoadRule, Loaded},
    types::ColumnKind,
};
use funnelweb_core::{
    limits,
    scenario::{FeatureKind, Scenario},
};
use funnelweb_tenant_store::Error as StoreError;

use crate::{Refusal, record, sandbox::Error};

/// Whether there may be one version more.
pub(crate) fn check_count(versions: usize) -> Result<(), Refusal> {
    if versions < limits::MODEL_VERSIONS {
        return Ok(());
    }
    let message = format!("a scenario has at most {} versions of models; delete one", limits::MODEL_VERSIONS);
    Err(Refusal::TooMany(message))
}

/// Names and versions are parts of paths.
pub(crate) fn check_names(loaded: &Loaded) -> Result<(), Refusal> {
    for (field, text) in [("manifest.name", &loaded.name), ("manifest.version", &loaded.version)] {
        if !record::is_name(text) {
            return Err(Refusal::invalid(field, "must be 1 to 63 of A-Z a-z 0-9 _ . -"));
        }
    }
    Ok(())
}

/// Every feature must be declared in the scenario, with its type.
pub(crate) fn check_features(loaded: &Loaded, scenario: &Scenario) -> Result<(), Refusal> {
    for feature in &loaded.features {
        let declared = scenario.config.features.kind(&feature.name);
        let read = feature_kind(feature.kind);
        let name = &feature.name;
        let message = match (declared, read) {
            (Some(declared), Some(read)) if declared == read => continue,
            (Some(declared), Some(read)) => {
                format!("reads `{name}` as {}; the scenario declares it as {}", read.as_str(), declared.as_str())
            }
            (_, None) => format!("reads `{name}` as an embedding, which no ranker is given"),
            (None, Some(_)) => format!("reads `{name}`, which the scenario does not declare under {}", place(name)),
        };
        return Err(Refusal::invalid("manifest.inputs", message));
    }
    Ok(())
}

/// Where a feature is declared.
fn place(name: &str) -> &'static str {
    match name.split_once(':').map(|(source, _)| source) {
        Some("item") => "config.features.item_features",
        Some("user") => "config.features.user_features",
        Some("context") => "config.features.context_features",
        _ => "config.features.derived_features",
    }
}

/// The type of a column; none of an embedding.
pub(crate) fn feature_kind(kind: ColumnKind) -> Option<FeatureKind> {
    match kind {
        ColumnKind::Numeric => Some(FeatureKind::Numeric),
        ColumnKind::Categorical => Some(FeatureKind::Categorical),
        ColumnKind::MultiCategorical => Some(FeatureKind::MultiCategorical),
        ColumnKind::Timestamp => Some(FeatureKind::Timestamp),
        ColumnKind::Embedding => None,
    }
}

/// What the component says, with where in the upload it is.
pub(crate) fn refused(error: Error) -> Refusal {
    match error {
        Error::Refused(LoadError { rule, message }) => match rule {
            LoadRule::Manifest(pointer) => Refusal::invalid(format!("manifest{}", path(&pointer)), message),
            LoadRule::Input(name) => Refusal::invalid("manifest.inputs", format!("{name}: {message}")),
            LoadRule::Golden(_) | LoadRule::NotFinite(_) => Refusal::invalid("manifest.golden", message),
            LoadRule::Onnx | LoadRule::Operator(_) => Refusal::invalid("onnx", message),
        },
        Error::Failed(failure) => Refusal::invalid("onnx", format!("cannot be made ready: {}", failure.reason)),
        Error::Host(reason) => StoreError::Unavailable(reason).into(),
    }
}

/// A JSON pointer as a path: `/inputs/0/tensor` is `.inputs[0].tensor`.
fn path(pointer: &str) -> String {
    let steps = pointer.split('/').skip(1);
    let step = |step: &str| match step.parse::<usize>() {
        Ok(at) => format!("[{at}]"),
        Err(_) => format!(".{}", step.replace("~1", "/").replace("~0", "~")),
    };
    steps.map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_has_so_many_versions() {
        assert!(check_count(limits::MODEL_VERSIONS - 1).is_ok());
        let refused = check_count(limits::MODEL_VERSIONS).unwrap_err().to_string();
        assert!(refused.contains(&limits::MODEL_VERSIONS.to_string()), "{refused}");
    }

    #[test]
    fn a_pointer_is_shown_as_a_path() {
        assert_eq!(path("/inputs/0/columns/12/feature"), ".inputs[0].columns[12].feature");
        assert_eq!(path(""), "");
        assert_eq!(path("/a~1b/~01"), ".a/b.~1");
    }
}

//! Manifests.

use serde_json::{Value, json};

use crate::{World, sections};

/// One that has nothing wrong.
pub(crate) fn manifest(name: &str, world: World) -> Value {
    json!({"name": name, "version": "1.0.0", "world": world.as_str(), "reads": {"columns": [], "user": []}})
}

/// The component with such a manifest.
pub(crate) fn upload(component: Vec<u8>, manifest: &Value) -> Vec<u8> {
    with_text(component, manifest.to_string().as_bytes())
}

/// The component with this for a manifest.
pub(crate) fn with_text(component: Vec<u8>, manifest: &[u8]) -> Vec<u8> {
    sections::with(component, &sections::custom(sections::MANIFEST, manifest))
}

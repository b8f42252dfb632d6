//! What is tried with an upload of a component, and what must hold. A test of
//! `runtime-host/admission` does the same with every input that is kept.

use funnelweb_admission::{Manifest, inspect};
use serde_json::Map;

/// Bytes of what is said of an upload, which may quote it.
const MESSAGE_BYTES: usize = 4096;

/// Inspects it. What is taken is taken again when its manifest is embedded again.
///
/// # Panics
/// When a promise is broken.
pub fn upload(wasm: &[u8]) {
    match inspect(wasm) {
        Ok(inspected) => {
            let manifest = serde_json::to_string(&inspected.manifest).unwrap();
            let again = Manifest::embed(wasm, &manifest).and_then(|wasm| inspect(&wasm));
            assert_eq!(again.as_ref(), Ok(&inspected));
            if let Some(schema) = inspected.manifest.schema().unwrap() {
                let _ = schema.check(&Map::new());
            }
        }
        Err(refused) => {
            assert!(!refused.message.is_empty() && refused.message.len() < MESSAGE_BYTES, "{refused:?}");
            assert!(!refused.help.is_empty() && refused.help.len() < MESSAGE_BYTES, "{refused:?}");
        }
    }
}

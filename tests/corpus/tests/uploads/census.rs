//! What an upload consists of, counted from its bytes, and the rules of admission that it
//! breaks by that. It is written apart from admission itself, and knows less.

use std::collections::BTreeSet;

use funnelweb_core::limits;
use funnelweb_corpus::World;
use serde_json::Value;
use wasmparser::{ComponentExternalKind, ComponentTypeRef, Parser, Payload, TypeRef, Validator, WasmFeatures};

/// What is larger may take minutes to compile.
const HARD_BYTES: usize = 200_000;
/// What an instance has room for.
const INSTANCES: usize = 64;
const MEMORIES: usize = 2;
const TABLES: usize = 20;
/// More than a tool makes, on one level.
const COMPONENT_INSTANCES: usize = 30;

/// The rules that are broken, and by what.
pub(crate) fn broken_rules(bytes: &[u8], world: World) -> Vec<(&'static str, String)> {
    let early = |rule| vec![(rule, format!("{} bytes", bytes.len()))];
    if bytes.is_empty() {
        return early("size");
    }
    if bytes.len() > limits::COMPONENT_BYTES {
        return early("size");
    }
    if bytes.starts_with(b"\x7fELF") {
        return early("compiled");
    }
    if !bytes.starts_with(b"\0asm") {
        return early("wasm");
    }
    if bytes.get(4..8) == Some(b"\x01\0\0\0") {
        return early("module");
    }
    if bytes.get(4..8) != Some(b"\x0d\0\x01\0") {
        return early("wasm");
    }
    let mut census = Census::default();
    if let Err(error) = census.count(bytes) {
        return vec![("invalid", error)];
    }
    let mut broken = census.over_limits();
    // Validated when it is known not to be too large for that.
    if broken.is_empty()
        && let Err(error) = Validator::new_with_features(features()).validate_all(bytes)
    {
        return vec![("invalid", error.to_string())];
    }
    broken.extend(census.imports(world));
    let exports: Vec<_> = census.exports.iter().map(String::as_str).collect();
    if exports != [world.interface()] {
        broken.push(("exports", format!("{:?}", exports.iter().take(3).collect::<Vec<_>>())));
    }
    match manifest(&census.manifests, world) {
        Err(reason) => broken.push(("manifest", reason)),
        Ok(None) => {}
        Ok(Some(schema)) => broken.extend(params(&schema, 0).err().map(|reason| ("params", reason))),
    }
    // Those that are made to be hard to compile are not compiled.
    if broken.is_empty()
        && bytes.len() < HARD_BYTES
        && let Err(error) = crate::host::linked(bytes, world)
    {
        broken.push(error);
    }
    broken
}

/// Those of Wasmtime as the project builds it.
fn features() -> WasmFeatures {
    let without = WasmFeatures::GC_TYPES | WasmFeatures::EXCEPTIONS | WasmFeatures::THREADS;
    (WasmFeatures::WASM3 - without) | WasmFeatures::COMPONENT_MODEL | WasmFeatures::CM_ASYNC
}

#[derive(Debug, Default)]
struct Census {
    imports: usize,
    /// Of the outermost component, and whether they are instances.
    outer_imports: Vec<(String, bool)>,
    exports: Vec<String>,
    functions: usize,
    types: usize,
    modules: usize,
    /// Core instances that are written down.
    instances: usize,
    /// Instances of components that are.
    component_instances: usize,
    depth: usize,
    memories: usize,
    memory_bytes: u64,
    tables: usize,
    table_elements: u64,
    manifests: Vec<Vec<u8>>,
}

impl Census {
    fn count(&mut self, bytes: &[u8]) -> Result<(), String> {
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = payload.map_err(|error| error.to_string())?;
            self.payload(&payload, depth).map_err(|error| error.to_string())?;
            match payload {
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                _ => {}
            }
            self.depth = self.depth.max(depth);
        }
        Ok(())
    }

    fn payload(&mut self, payload: &Payload<'_>, depth: usize) -> wasmparser::Result<()> {
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => self.modules += 1,
            Payload::ImportSection(imports) => {
                for import in imports.clone().into_imports() {
                    self.imports += 1;
                    match import?.ty {
                        TypeRef::Memory(memory) => self.memory(memory.initial, memory.page_size_log2),
                        TypeRef::Table(table) => self.table(table.initial),
                        _ => {}
                    }
                }
            }
            Payload::ComponentImportSection(imports) => {
                for import in imports.clone() {
                    let import = import?;
                    self.imports += 1;
                    if depth == 0 {
                        let instance = matches!(import.ty, ComponentTypeRef::Instance(_));
                        self.outer_imports.push((import.name.name.to_owned(), instance));
                    }
                }
            }
            Payload::ComponentExportSection(exports) if depth == 0 => {
                for export in exports.clone() {
                    let export = export?;
                    assert!(export.kind != ComponentExternalKind::Value);
                    self.exports.push(export.name.name.to_owned());
                }
            }
            Payload::FunctionSection(functions) => self.functions += functions.count() as usize,
            Payload::TypeSection(types) => self.types += types.count() as usize,
            Payload::ComponentTypeSection(types) => self.types += types.count() as usize,
            Payload::InstanceSection(instances) => self.instances += instances.count() as usize,
            Payload::ComponentInstanceSection(instances) => self.component_instances += instances.count() as usize,
            Payload::MemorySection(memories) => {
                for memory in memories.clone() {
                    let memory = memory?;
                    self.memory(memory.initial, memory.page_size_log2);
                }
            }
            Payload::TableSection(tables) => {
                for table in tables.clone() {
                    self.table(table?.ty.initial);
                }
            }
            Payload::CustomSection(section) if depth == 0 && section.name() == "funnelweb:component" => {
                self.manifests.push(section.data().to_vec());
            }
            _ => {}
        }
        Ok(())
    }

    fn memory(&mut self, pages: u64, page_size_log2: Option<u32>) {
        self.memories += 1;
        self.memory_bytes = self.memory_bytes.saturating_add(pages.saturating_mul(1 << page_size_log2.unwrap_or(16)));
    }

    fn table(&mut self, elements: u64) {
        self.tables += 1;
        self.table_elements = self.table_elements.saturating_add(elements);
    }

    fn over_limits(&self) -> Vec<(&'static str, String)> {
        let counted = [
            ("imports", self.imports, limits::COMPONENT_IMPORTS),
            ("functions", self.functions, limits::COMPONENT_FUNCTIONS),
            ("types", self.types, limits::COMPONENT_TYPES),
            ("modules", self.modules, limits::COMPONENT_MODULES),
            // As they are written down; what they come to is more.
            ("instances", self.instances, INSTANCES),
            ("instances", self.component_instances, COMPONENT_INSTANCES),
            ("nesting", self.depth, limits::COMPONENT_NESTING),
            ("memories", usize::try_from(self.memory_bytes).unwrap(), limits::COMPONENT_MEMORY_BYTES),
            ("memories", self.memories, MEMORIES),
            ("tables", usize::try_from(self.table_elements).unwrap(), limits::COMPONENT_TABLE_ELEMENTS),
            ("tables", self.tables, TABLES),
        ];
        let over = counted.into_iter().filter(|(_, count, limit)| count > limit);
        over.map(|(rule, count, limit)| (rule, format!("{count}, {limit} is the most"))).collect()
    }

    fn imports(&self, world: World) -> Option<(&'static str, String)> {
        let allowed = |name: &str| {
            let wasi = ["io", "clocks", "random", "cli", "filesystem", "sockets"];
            let of_wasi = name.split_once('/').is_some_and(|(package, interface)| {
                package.strip_prefix("wasi:").is_some_and(|package| wasi.contains(&package))
                    && (interface.split_once("@0.2.").is_some_and(|(_, patch)| patch.parse::<u32>().is_ok())
                        || interface.ends_with("@0.3.0"))
            });
            of_wasi
                || name == "funnelweb:pipeline/types@0.1.0"
                || (world == World::Recall && name == "funnelweb:tenant/catalogue@0.1.0")
        };
        let (name, _) = self.outer_imports.iter().find(|(name, instance)| !instance || !allowed(name))?;
        Some(("imports", name.clone()))
    }
}

/// What of users it is to be given.
pub(crate) fn reads_of_user(bytes: &[u8]) -> Vec<String> {
    let mut census = Census::default();
    let _ = census.count(bytes);
    let manifest = census.manifests.first().and_then(|section| serde_json::from_slice::<Value>(section).ok());
    let manifest = manifest.unwrap_or_default();
    let parts = manifest["reads"]["user"].as_array().cloned().unwrap_or_default();
    parts.iter().filter_map(|part| part.as_str().map(str::to_owned)).collect()
}

/// The schema of the params, if it is a manifest and has one.
fn manifest(sections: &[Vec<u8>], world: World) -> Result<Option<Value>, String> {
    let [section] = sections else { return Err(format!("{} manifests", sections.len())) };
    if section.len() > limits::COMPONENT_MANIFEST_BYTES {
        return Err(format!("{} bytes", section.len()));
    }
    let text = str::from_utf8(section).map_err(|error| error.to_string())?;
    let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let object = value.as_object().ok_or("no object")?;
    let known: BTreeSet<_> = ["name", "version", "world", "reads", "params"].into();
    if let Some(unknown) = object.keys().find(|key| !known.contains(key.as_str())) {
        return Err(unknown.clone());
    }
    // What is said twice is the last when it is read.
    if object.iter().any(|(key, _)| text.matches(&format!("\"{key}\":")).count() > 1 && key != "params") {
        return Err("said twice".to_owned());
    }
    let text = |key: &str| object.get(key).and_then(Value::as_str).ok_or(format!("no {key}"));
    let (name, version) = (text("name")?, text("version")?);
    let plain = |text: &str, more: &[u8]| {
        (1..=limits::COMPONENT_NAME_BYTES).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || more.contains(&byte))
    };
    if !plain(name, b"-_.") || name.starts_with('.') {
        return Err(format!("name {name:?}"));
    }
    if !plain(version, b".-_+") || version.starts_with('.') {
        return Err(format!("version {version:?}"));
    }
    if text("world")? != world.as_str() {
        return Err("world".to_owned());
    }
    reads(object.get("reads").ok_or("no reads")?)?;
    Ok(object.get("params").cloned())
}

fn reads(reads: &Value) -> Result<(), String> {
    let object = reads.as_object().ok_or("reads")?;
    if object.keys().any(|key| key != "columns" && key != "user") {
        return Err("reads more".to_owned());
    }
    let list = |key: &str| object.get(key).and_then(Value::as_array).ok_or(key.to_owned());
    let columns = list("columns")?;
    let long = |column: &Value| column["name"].as_str().is_none_or(|name| name.len() > limits::NAME_BYTES);
    if columns.len() > limits::STAGE_COLUMNS || columns.iter().any(long) {
        return Err("columns".to_owned());
    }
    let parts = ["id", "attributes", "preferences", "recent", "context"];
    if list("user")?.iter().any(|part| part.as_str().is_none_or(|part| !parts.contains(&part))) {
        return Err("user".to_owned());
    }
    Ok(())
}

/// A schema that is not too deep or wide, and refers to nothing outside of itself.
fn params(schema: &Value, depth: usize) -> Result<(), String> {
    let object = match schema {
        Value::Object(object) => object,
        Value::Array(_) if depth == 0 => return Err("no schema".to_owned()),
        Value::Array(all) => return all.iter().try_for_each(|value| params(value, depth + 1)),
        _ => return Ok(()),
    };
    if depth > 3 * limits::COMPONENT_SCHEMA_DEPTH || object.len() > 1000 {
        return Err(format!("{} at {depth}", object.len()));
    }
    if object.get("$ref").and_then(Value::as_str).is_some_and(|to| !to.starts_with('#')) {
        return Err("refers to what is outside".to_owned());
    }
    object.values().try_for_each(|value| params(value, depth + 1))
}

//! Tenants with components, without a server around them.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    sync::Arc,
};

use funnelweb::stores::Stores;
use funnelweb_admission::{Compiler, Manifest, World};
use funnelweb_engine::{ComponentCache, Engines};
use funnelweb_factor_components::{
    Components, Parts, Picked, Settings, Who,
    record::{Head, Version},
};
use funnelweb_factor_documents::store::{Collection, Key, NewDocument, Tenant};
use tempfile::TempDir;

/// Components of a tenant: as many as it may have.
const OF_TENANT: usize = 100;

pub struct Registered {
    folder: TempDir,
    engines: Engines,
    stores: Stores,
    components: Components,
}

fn components(engines: &Engines, stores: &Stores, folder: &TempDir) -> Components {
    let cache = Arc::new(ComponentCache::new(folder.path().join("components")).unwrap());
    let compiler = Compiler::new(std::env::current_exe().unwrap(), ["admit-component"]);
    let (files, recorder) = (Arc::clone(&stores.components), Arc::clone(&stores.recorder));
    let parts = Parts { files, sources: stores.sources(), recorder, cache, compiler, logs: None };
    // One tenant asks all the time.
    let settings = Settings { tenant_time: std::time::Duration::from_secs(64), ..Settings::default() };
    Components::new(engines, parts, settings).unwrap()
}

fn manifest(name: &str) -> String {
    let columns = r#"[{"name": "category", "type": "categorical"}, {"name": "tags", "type": "multi_categorical"},
                      {"name": "embedding", "type": "embedding"}]"#;
    format!(r#"{{"name": "{name}", "version": "1", "world": "rerank", "reads": {{"columns": {columns}}}}}"#)
}

/// As the product writes them: how a file is written decides how much of it is mapped.
fn write(path: &Path, code: &[u8]) {
    let mut file = File::create(path).unwrap();
    code.chunks(16 * 1024).for_each(|piece| file.write_all(piece).unwrap());
}

impl Registered {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let engines = Engines::new().unwrap();
        let stores = Stores::embedded(folder.path()).unwrap();
        let components = components(&engines, &stores, &folder);
        Self { folder, engines, stores, components }
    }

    /// As after a restart: nothing is ready.
    pub fn restart(&mut self) {
        self.components = components(&self.engines, &self.stores, &self.folder);
    }

    /// Uploads one and has it run.
    pub async fn add(&self, wasm: &[u8]) -> (Tenant, String) {
        let tenant = Tenant::new("acme").unwrap();
        let wasm = match Manifest::read(wasm) {
            Ok(_) => wasm.to_vec(),
            Err(_) => Manifest::embed(wasm, &manifest(&format!("uploaded-{}", wasm.len()))).unwrap(),
        };
        let version = self.components.add(&tenant, wasm.into()).await.unwrap();
        let name = version.name.clone();
        self.write(&tenant, vec![Version { overridden: true, ..version }]).await;
        (tenant, name)
    }

    /// So many that differ in their name, and so in their files. They are compiled once: what
    /// is measured is many of them, and not the compiler.
    pub async fn add_many(&self, wasm: &[u8], count: usize) -> Vec<(Tenant, String)> {
        let (_, name) = self.add(wasm).await;
        let acme = Tenant::new("acme").unwrap();
        let (_, versions) = self.components.get(&acme, &name).await.unwrap();
        let folder = self.folder.path().join("components");
        let compiled = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let compiled = compiled.into_iter().find(|path| path.to_string_lossy().contains("tenants-")).unwrap();
        let code = fs::read(&compiled).unwrap();
        let sha256 = versions[0].sha256.clone();
        let mut all = Vec::with_capacity(count);
        for number in 0..count.div_ceil(OF_TENANT) {
            let tenant = Tenant::new(&format!("tenant-{number}")).unwrap();
            let mut documents = Vec::new();
            for at in 0..OF_TENANT {
                let name = format!("component-{at}");
                let own = format!("{sha256:.40}{number:012}{at:012}");
                let file = compiled.file_name().unwrap().to_string_lossy().replace(&sha256, &own);
                write(&folder.join(file), &code);
                documents.push(Version { name: name.clone(), sha256: own, overridden: true, ..versions[0].clone() });
                all.push((tenant.clone(), name));
            }
            self.write(&tenant, documents).await;
        }
        all
    }

    async fn write(&self, tenant: &Tenant, versions: Vec<Version>) {
        let mut documents = Vec::new();
        for version in versions {
            let mut head = Head::new(&version.name, World::Rerank);
            head.activate(&version.version);
            let of = |key: Key, body: String| NewDocument { key, body };
            documents.push(of(version.key(), serde_json::to_string(&version).unwrap()));
            documents.push(of(head.key(), serde_json::to_string(&head).unwrap()));
        }
        self.stores.documents.insert_many(tenant, Collection::Components, documents, true).await.unwrap();
    }

    /// What a request has read before it comes to a component.
    pub async fn warm(&self, tenant: &Tenant, _: &str) {
        self.stores.documents.get(tenant, Collection::Scenarios, Key::new("feed", "feed")).await.unwrap();
    }

    pub async fn pick(&self, tenant: &Tenant, name: &str) -> Picked {
        let who = Who { user_id: "ann", seed: 7 };
        self.components.pick(tenant, World::Rerank, name, None, who).await.unwrap()
    }
}

//! The time and the scores of each model in a folder, once in the sandbox and once
//! natively: the component is given the model, its memory is kept as the model's
//! image, and an instance of that answers, as in the host. One line of JSON a model;
//! `rankers.py` starts it and puts others beside it.
//!
//! ```text
//! funnelweb-ranker-bench rank_onnx.wasm MODELS ROWS SECONDS
//! ```
//!
//! `MODELS` has `NAME.onnx` and `NAME.json`: the values of every feature, and the
//! scores of onnxruntime.

#![allow(clippy::print_stdout, reason = "its output is what it is for")]

use std::{
    collections::BTreeMap,
    error::Error,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use funnelweb_bindings::{
    stages::{self, ModelStage, RankStage},
    types,
};
use funnelweb_core::id::value_hash;
use funnelweb_engine::{ComponentCache, Engines, Template, deadline};
use funnelweb_guest::{fixtures, types::Table};
use funnelweb_ranker::Model;
use serde::Deserialize;
use serde_json::{Value, json};
use wasmtime::{
    Engine, Store,
    component::{Component, Linker, ResourceTable},
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// What `rankers.py` writes beside a model.
#[derive(Deserialize)]
struct Data {
    features: BTreeMap<String, Vec<Value>>,
    scores: Vec<f32>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [component, folder, rows, seconds] = arguments.as_slice() else {
        return Err("usage: funnelweb-ranker-bench COMPONENT MODELS ROWS SECONDS".into());
    };
    let sandbox = Sandbox::new(Path::new(component))?;
    let seconds = Duration::from_secs_f64(seconds.parse()?);
    for name in ["lightgbm", "deepfm", "wide_deep"] {
        let file = |extension: &str| Path::new(folder).join(name).with_extension(extension);
        let onnx = fs::read(file("onnx"))?;
        let data: Data = serde_json::from_slice(&fs::read(file("json"))?)?;
        println!("{}", measure(&sandbox, name, &onnx, &data, rows.parse()?, seconds).await?);
    }
    Ok(())
}

async fn measure(
    sandbox: &Sandbox,
    name: &str,
    onnx: &[u8],
    data: &Data,
    rows: usize,
    seconds: Duration,
) -> Outcome<Value> {
    let start = Instant::now();
    let image = sandbox.image(onnx).await?;
    let image_bytes = image.len();
    let one = sandbox.compile(&image)?;
    let load_ms = millis(start.elapsed());
    let other = sandbox.compile(&image)?;
    let (mut one, mut other) = (sandbox.instance(&one).await?, sandbox.instance(&other).await?);
    let mut model = Model::load("", onnx.to_vec()).map_err(|error| error.message)?;

    let all = table(data, data.scores.len());
    let user = Table::empty(1);
    let native = model.score(&all, &user).map_err(|error| error.to_string())?;
    let request = request(&all);
    let sandboxed = one.rank(&request).await?;
    if sandboxed != other.rank(&request).await? || sandboxed != one.rank(&request).await? {
        return Err("scores differ between instances or runs".into());
    }
    let difference = largest_difference(&sandboxed, &data.scores);
    let to_native = largest_difference(&sandboxed, &native);

    let few = table(data, rows);
    let request = self::request(&few);
    let mut native_ms = f64::INFINITY;
    let end = Instant::now() + seconds;
    while Instant::now() < end {
        let start = Instant::now();
        model.score(&few, &user).map_err(|error| error.to_string())?;
        native_ms = native_ms.min(millis(start.elapsed()));
    }
    let mut sandbox_ms = f64::INFINITY;
    let end = Instant::now() + seconds;
    while Instant::now() < end {
        let start = Instant::now();
        one.rank(&request).await?;
        sandbox_ms = sandbox_ms.min(millis(start.elapsed()));
    }
    Ok(json!({
        "model": name, "sandbox_ms": sandbox_ms, "native_ms": native_ms, "load_ms": load_ms, "image_bytes": image_bytes,
        "difference": difference, "difference_to_native": to_native,
    }))
}

fn millis(duration: Duration) -> f64 {
    1000.0 * duration.as_secs_f64()
}

fn largest_difference(scores: &[f32], expected: &[f32]) -> f32 {
    scores.iter().zip(expected).map(|(score, expected)| (score - expected).abs()).fold(0.0, f32::max)
}

/// The first rows as the feature stage would give them.
fn table(data: &Data, rows: usize) -> Table {
    let mut table = Table::empty(rows as u32);
    for (name, values) in &data.features {
        let name = name.split_once(':').map_or(name.as_str(), |(_, bare)| bare);
        let values = values.get(..rows).unwrap_or(values);
        if values.iter().any(Value::is_string) {
            let hashes: Vec<u32> = values.iter().map(|value| value.as_str().map_or(0, value_hash)).collect();
            table = table.with_categorical(name, &hashes);
        } else {
            let numbers: Vec<f32> =
                values.iter().map(|value| value.as_f64().map_or(f32::NAN, |cell| cell as f32)).collect();
            table = table.with_numeric(name, &numbers);
        }
    }
    table
}

/// A request of the host for all rows of a table.
fn request(items: &Table) -> stages::rank::RankRequest {
    let context = fixtures::context();
    let rows = items.rows as usize;
    let user = types::User {
        id: context.user.id,
        attributes: Vec::new(),
        preferences: Vec::new(),
        recent: Vec::new(),
        recent_weights: Vec::new(),
    };
    stages::rank::RankRequest {
        context: types::RequestContext {
            scenario_id: context.scenario_id,
            user,
            context: Vec::new(),
            now_ms: context.now_ms,
            count: context.count,
            seed: context.seed,
        },
        candidates: types::Candidates {
            handles: (1..).take(rows).collect(),
            scores: vec![0.0; rows],
            sources: vec![1; rows],
        },
        items: as_host(items),
        user: as_host(&Table::empty(1)),
        item_features: Vec::new(),
        objective: "click_rate".to_owned(),
        params: String::new(),
    }
}

fn as_host(table: &Table) -> types::Table {
    let table = table.clone();
    types::Table {
        rows: table.rows,
        numeric_names: table.numeric_names,
        numeric: table.numeric,
        categorical_names: table.categorical_names,
        categorical: table.categorical,
        multi_names: table.multi_names,
        multi_offsets: table.multi_offsets,
        multi_values: table.multi_values,
        embedding_dim: table.embedding_dim,
        embeddings: table.embeddings,
    }
}

/// The component, and the engine that runs it and its images.
struct Sandbox {
    engines: Engines,
    cache: ComponentCache,
    loader: Linker<Host>,
    linker: Linker<Host>,
    template: Template,
}

struct Host {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// An instance that has a model.
struct Instance {
    store: Store<Host>,
    stage: RankStage,
}

impl Sandbox {
    fn new(wasm: &Path) -> Outcome<Self> {
        // Those of the host.
        let engines = Engines::new()?;
        let mut linker = Linker::new(engines.models());
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        let mut loader = Linker::new(engines.loading());
        wasmtime_wasi::p2::add_to_linker_async(&mut loader)?;
        let cache = ComponentCache::new(std::env::temp_dir().join("funnelweb-ranker-bench"))?;
        let template = Template::load(&engines, &cache, wasm)?;
        Ok(Self { engines, cache, loader, linker, template })
    }

    fn store(&self, engine: &Engine) -> Store<Host> {
        let mut store = Store::new(engine, Host { wasi: WasiCtx::builder().build(), table: ResourceTable::new() });
        // As in the host, which looks at the clock now and then.
        deadline(&mut store, Duration::from_secs(3600));
        store
    }

    /// The component as it is with the model.
    async fn image(&self, onnx: &[u8]) -> Outcome<Vec<u8>> {
        let mut store = self.store(self.engines.loading());
        let instance = self.loader.instantiate_async(&mut store, self.template.component()).await?;
        let stage = ModelStage::new(&mut store, &instance)?;
        let loaded = stage.funnelweb_pipeline_model().call_load(&mut store, "", onnx).await?;
        loaded.map_err(|error| error.message)?;
        Ok(self.template.image(&mut store, instance).await?)
    }

    fn compile(&self, image: &[u8]) -> Outcome<Component> {
        let file = self.cache.functions_file(self.engines.models(), self.template.id());
        Ok(self.engines.functions().with_file(&file, || Component::new(self.engines.models(), image))?)
    }

    async fn instance(&self, component: &Component) -> Outcome<Instance> {
        let mut store = self.store(self.engines.models());
        let stage = RankStage::instantiate_async(&mut store, component, &self.linker).await?;
        Ok(Instance { store, stage })
    }
}

impl Instance {
    async fn rank(&mut self, request: &stages::rank::RankRequest) -> Outcome<Vec<f32>> {
        let scores = self.stage.funnelweb_pipeline_rank().call_rank(&mut self.store, request).await?;
        scores.map_err(|error| error.message.into())
    }
}

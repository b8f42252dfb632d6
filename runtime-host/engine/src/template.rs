//! Components that are initialised once and kept as they are then.
//!
//! A component is given what it needs to know (a model's file) by a call of its own;
//! then its memory becomes its initial memory: a component again, whose instances
//! begin where that one stood, in microseconds, and share what they do not change.

use std::{fs, path::Path};

use sha2::{Digest, Sha256};
use wasmtime::{
    Store,
    component::{Component, Instance, Lift, WasmList},
};
use wasmtime_wizer::{ComponentInstanceState, Wizer};

use crate::{ComponentCache, Engines, Error};

/// A component before it is initialised.
pub struct Template {
    wasm: Vec<u8>,
    id: String,
    component: Component,
}

impl Template {
    /// Reads a component; it is compiled, now or earlier, in a form whose state can be
    /// read, for the engine that models are loaded by.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be read, [`Error::Compile`] when it is no
    /// component or one whose state cannot be kept.
    pub fn load(engines: &Engines, cache: &ComponentCache, path: &Path) -> Result<Self, Error> {
        let wasm = fs::read(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
        let compile = |source| Error::Compile { path: path.to_owned(), source };
        let (_, readable) = wizer().instrument_component(&wasm).map_err(compile)?;
        let digest = Sha256::digest(&wasm);
        let id: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let file = cache.functions_file(engines.models(), &id);
        let component = engines.functions().with_file(&file, || cache.compiled(engines.loading(), &readable, path))?;
        Ok(Self { wasm, id, component })
    }

    /// By its content.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// To be instantiated once for each image.
    #[must_use]
    pub fn component(&self) -> &Component {
        &self.component
    }

    /// The component as an instance of [`component`](Self::component) is now. The
    /// instance must hold nothing of its host: no file, no output.
    ///
    /// # Errors
    /// [`Error::Image`] when it cannot be kept.
    pub async fn image<T: Send + 'static>(&self, store: &mut Store<T>, instance: Instance) -> Result<Vec<u8>, Error> {
        let wizer = wizer();
        let (context, _) = wizer.instrument_component(&self.wasm).map_err(Error::Image)?;
        let mut state = State { store, instance, fault: None };
        let wasm = wizer.snapshot_component(&context, &mut state).await.map_err(Error::Image)?;
        match state.fault {
            None => Ok(wasm),
            Some(fault) => Err(Error::Image(fault)),
        }
    }
}

/// Reads an instance's state through the functions that were added for it.
struct State<'a, T: 'static> {
    store: &'a mut Store<T>,
    instance: Instance,
    /// The first that did not answer: what comes after it is worth nothing.
    fault: Option<wasmtime::Error>,
}

impl<T: Send + 'static> State<'_, T> {
    async fn call<R: Lift + Send + Sync + 'static>(&mut self, interface: &str, name: &str) -> wasmtime::Result<R> {
        let missing = || wasmtime::Error::msg(format!("there is no {interface}#{name}"));
        let interface = self.instance.get_export_index(&mut *self.store, None, interface).ok_or_else(missing)?;
        let index = self.instance.get_export_index(&mut *self.store, Some(&interface), name).ok_or_else(missing)?;
        let function = self.instance.get_typed_func::<(), (R,)>(&mut *self.store, index)?;
        Ok(function.call_async(&mut *self.store, ()).await?.0)
    }

    async fn number<R: Lift + Default + Send + Sync + 'static>(&mut self, interface: &str, name: &str) -> R {
        let answer = self.call(interface, name).await;
        self.or_fault(answer)
    }

    fn or_fault<R: Default>(&mut self, answer: wasmtime::Result<R>) -> R {
        answer.unwrap_or_else(|fault| {
            self.fault.get_or_insert(fault);
            R::default()
        })
    }
}

impl<T: Send + 'static> ComponentInstanceState for State<'_, T> {
    async fn call_func_ret_list_u8(&mut self, instance: &str, func: &str, contents: impl FnOnce(&[u8]) + Send) {
        match self.call::<WasmList<u8>>(instance, func).await {
            Ok(list) => contents(list.as_le_slice(&self.store)),
            Err(fault) => {
                self.fault.get_or_insert(fault);
                contents(&[]);
            }
        }
    }

    async fn call_func_ret_s32(&mut self, instance: &str, func: &str) -> i32 {
        self.number(instance, func).await
    }

    async fn call_func_ret_s64(&mut self, instance: &str, func: &str) -> i64 {
        self.number(instance, func).await
    }

    async fn call_func_ret_f32(&mut self, instance: &str, func: &str) -> u32 {
        self.number::<f32>(instance, func).await.to_bits()
    }

    async fn call_func_ret_f64(&mut self, instance: &str, func: &str) -> u64 {
        self.number::<f64>(instance, func).await.to_bits()
    }
}

fn wizer() -> Wizer {
    let mut wizer = Wizer::new();
    // What initialises is an export like any other, and stays one.
    wizer.keep_init_func(true);
    wizer
}

//! `funnelweb:tenant/values`: what texts are inside a border.

use funnelweb_bindings::tenant::values::{self as wit, Host};
use funnelweb_core::{id, limits};
use funnelweb_instance::State;
use wasmtime::component::{HasData, Linker};

use crate::sandbox::Guest;

struct HasValues;

impl HasData for HasValues {
    type Data<'a> = &'a mut Guest;
}

pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    wit::add_to_linker::<_, HasValues>(linker, |state| state.own())
}

impl Host for Guest {
    async fn hash(&mut self, values: Vec<String>) -> wasmtime::Result<Vec<u32>> {
        check(values.len())?;
        Ok(values.iter().map(|value| id::value_hash(value)).collect())
    }

    async fn handles(&mut self, ids: Vec<String>) -> wasmtime::Result<Vec<u64>> {
        check(ids.len())?;
        let handles: Vec<u64> = ids.iter().map(|id| id::handle(id)).collect();
        Ok(self.known.give(&handles))
    }
}

/// There is no other way to refuse than to end the call.
fn check(count: usize) -> wasmtime::Result<()> {
    if count <= limits::CANDIDATES {
        return Ok(());
    }
    Err(wasmtime::Error::msg(format!("values: must be at most {} long, got {count}", limits::CANDIDATES)))
}

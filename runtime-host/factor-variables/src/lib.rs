//! The variables of an application: `spin:variables@3.0.0`. A component reads
//! those its own `[component.<id>.variables]` names, with the application's
//! values filled in when the host started.

use std::{collections::BTreeMap, sync::Arc};

use funnelweb_bindings::spin::variables::{self as wit, Error, Host, HostWithStore};
use wasmtime::component::{Accessor, HasData, Linker};

/// Bytes of a variable's name.
const NAME_BYTES: usize = 128;

/// The variables of one component.
#[derive(Clone, Default)]
pub struct VariablesCtx {
    values: Arc<BTreeMap<String, String>>,
}

impl VariablesCtx {
    /// These values, by name.
    #[must_use]
    pub fn new(values: Arc<BTreeMap<String, String>>) -> Self {
        Self { values }
    }

    /// The value of a variable.
    ///
    /// # Errors
    /// `invalid-name` for what is no name (`[a-z][a-z0-9_]*`), `undefined` for a
    /// name the component's manifest does not have.
    pub fn get(&self, name: &str) -> Result<String, Error> {
        let letters = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        if !letters || !name.starts_with(|first: char| first.is_ascii_lowercase()) || name.len() > NAME_BYTES {
            return Err(Error::InvalidName(format!(
                "a variable's name is 1 to {NAME_BYTES} lower-case letters, digits and `_`, a letter first"
            )));
        }
        self.values.get(name).cloned().ok_or_else(|| Error::Undefined(format!("no variable `{name}`")))
    }
}

/// Marks where the context stands in an instance's data.
pub struct HasVariables;

impl HasData for HasVariables {
    type Data<'a> = &'a mut VariablesCtx;
}

/// Offers `spin:variables/variables@3.0.0` to components.
///
/// # Errors
/// When the interface is in the linker already.
pub fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    ctx: fn(&mut T) -> &mut VariablesCtx,
) -> wasmtime::Result<()> {
    wit::add_to_linker::<T, HasVariables>(linker, ctx)
}

impl<T: Send> HostWithStore<T> for HasVariables {
    async fn get(accessor: &Accessor<T, Self>, name: String) -> Result<String, Error> {
        accessor.with(|mut access| access.get().get(&name))
    }
}

impl Host for VariablesCtx {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_reads_its_own_and_nothing_else() {
        let ctx = VariablesCtx::new(Arc::new([("api_url".to_owned(), "x".to_owned())].into()));
        assert_eq!(ctx.get("api_url").unwrap(), "x");
        assert!(matches!(ctx.get("secret"), Err(Error::Undefined(_))));
        for name in ["", "Api", "1a", "a-b", "../x", &"a".repeat(NAME_BYTES + 1)] {
            assert!(matches!(ctx.get(name), Err(Error::InvalidName(_))), "{name}");
        }
    }
}

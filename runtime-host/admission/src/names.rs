//! What a component may import and export, by name.

use funnelweb_engine::bounded;
use wasmparser::{ComponentExport, ComponentExternalKind, ComponentImport, ComponentTypeRef};

use crate::{Refused, Rule, World, refused::quoted};

/// Shapes that the worlds' interfaces share; there is nothing to call in it.
const TYPES: &str = "funnelweb:pipeline/types@0.1.0";
const CATALOGUE: &str = "funnelweb:tenant/catalogue@0.1.0";
const VALUES: &str = "funnelweb:tenant/values@0.1.0";
/// What `main` becomes.
const COMMAND: &str = "wasi:cli/run@";
/// An instance that `componentize-py` adds: it was called while the component was made, and
/// is called by nobody again.
const OF_PYTHON: &str = "exports";
/// What componentize-qjs makes its snapshot with, and leaves; nobody calls it.
const OF_QUICKJS: &str = "init";
/// Names that a message lists.
const LISTED: usize = 8;

/// Interfaces of WASI that the host has, by package, in 0.2 and in 0.3.
const WASI: [(&str, &[&str], &[&str]); 6] = [
    (
        "wasi:cli",
        &[
            "environment",
            "exit",
            "stdin",
            "stdout",
            "stderr",
            "terminal-input",
            "terminal-output",
            "terminal-stdin",
            "terminal-stdout",
            "terminal-stderr",
        ],
        &[
            "environment",
            "exit",
            "types",
            "stdin",
            "stdout",
            "stderr",
            "terminal-input",
            "terminal-output",
            "terminal-stdin",
            "terminal-stdout",
            "terminal-stderr",
        ],
    ),
    ("wasi:io", &["error", "poll", "streams"], &[]),
    ("wasi:clocks", &["monotonic-clock", "wall-clock"], &["types", "monotonic-clock", "system-clock"]),
    ("wasi:random", &["random", "insecure", "insecure-seed"], &["random", "insecure", "insecure-seed"]),
    ("wasi:filesystem", &["types", "preopens"], &["types", "preopens"]),
    (
        "wasi:sockets",
        &["network", "instance-network", "ip-name-lookup", "tcp", "tcp-create-socket", "udp", "udp-create-socket"],
        &["types", "ip-name-lookup"],
    ),
];

/// Whether it imports only what its world has.
pub(crate) fn check_imports(imports: &[ComponentImport<'_>], world: World) -> Result<(), Refused> {
    let refused = |import: &&ComponentImport<'_>| {
        !matches!(import.ty, ComponentTypeRef::Instance(_)) || !may_import(import.name.name, world)
    };
    let mut refused: Vec<&str> = imports.iter().filter(refused).map(|import| import.name.name).collect();
    let Some(&first) = refused.first() else { return Ok(()) };
    let others = refused.len().saturating_sub(LISTED);
    refused.truncate(LISTED);
    let mut message = format!("it imports {}", refused.into_iter().map(quoted).collect::<Vec<_>>().join(", "));
    if others > 0 {
        message.push_str(&format!(" and {others} more"));
    }
    message.push_str(&format!(", which the world `{}` does not have", world.as_str()));
    Err(Refused::new(Rule::Imports, message, help(first, world)))
}

fn may_import(name: &str, world: World) -> bool {
    name == TYPES
        || (name == VALUES && world != World::Aggregate)
        || (name == CATALOGUE && world == World::Recall)
        || is_wasi(name)
}

fn is_wasi(name: &str) -> bool {
    let Some((path, version)) = name.split_once('@') else { return false };
    let Some((package, interface)) = path.split_once('/') else { return false };
    let Some((_, second, third)) = WASI.iter().find(|(known, ..)| *known == package) else { return false };
    let interfaces = if is_patch(version, "0.2.") {
        second
    } else if is_patch(version, "0.3.") {
        third
    } else {
        return false;
    };
    interfaces.contains(&interface)
}

/// A version of this line that is released.
fn is_patch(version: &str, line: &str) -> bool {
    version
        .strip_prefix(line)
        .is_some_and(|patch| (1..=4).contains(&patch.len()) && patch.bytes().all(|byte| byte.is_ascii_digit()))
}

fn help(name: &str, world: World) -> String {
    if name.starts_with("wasi:http/") {
        return "a component of a tenant's has no network; in JavaScript leave out `fetch` with \
                `componentize-js --disable http --disable fetch-event`"
            .to_owned();
    }
    if name == CATALOGUE {
        return format!(
            "only the world `recall` has the catalogue; in `{}` name what it needs in `reads`",
            world.as_str()
        );
    }
    if name.starts_with("wasi:") {
        return "of WASI there are cli, io, clocks, random, filesystem and sockets, as in 0.2 and 0.3; build it with a \
                toolchain of those"
            .to_owned();
    }
    if name.starts_with("funnelweb:") {
        return "build it with the WIT package `funnelweb:tenant@0.1.0`".to_owned();
    }
    "compose it with a component that exports this, with `wac plug`, or leave it out".to_owned()
}

/// Whether it exports the interface of its world, and nothing that would do something else.
pub(crate) fn check_exports(exports: &[ComponentExport<'_>], world: World) -> Result<(), Refused> {
    let wanted = world.interface();
    let refused = |message: String, help: &str| Err(Refused::new(Rule::Exports, message, help));
    let mut exported = false;
    for export in exports {
        let name = export.name.name;
        if name == wanted && export.kind == ComponentExternalKind::Instance {
            exported = true;
        } else if let Some(other) = World::ALL.into_iter().find(|other| other.interface() == name) {
            let message = format!(
                "it exports {}, and its manifest says that it is of the world `{}`",
                quoted(name),
                world.as_str()
            );
            let help = format!(
                "a component is of one world: build it for `{}`, or write `\"world\": \"{}\"` in its manifest",
                world.as_str(),
                other.as_str()
            );
            return refused(message, &help);
        } else if name.starts_with(COMMAND) {
            return refused(
                format!("it is a command (it exports {})", quoted(name)),
                "build a library: in Rust `crate-type = [\"cdylib\"]`, without `main`",
            );
        } else if !(export.kind == ComponentExternalKind::Type
            || export.kind == ComponentExternalKind::Instance && name == OF_PYTHON
            || export.kind == ComponentExternalKind::Func && name == OF_QUICKJS)
        {
            let kind = export.kind.desc();
            return refused(
                format!("it exports the {kind} {}, which the world `{}` does not have", quoted(name), world.as_str()),
                "build it for the world as it is in the WIT package `funnelweb:tenant@0.1.0`, without further exports",
            );
        }
    }
    if exported {
        return Ok(());
    }
    let names: Vec<String> = exports.iter().take(LISTED).map(|export| quoted(export.name.name)).collect();
    let names = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
    refused(
        bounded(format!(
            "it does not export `{wanted}`, the interface of the world `{}`; it exports {names}",
            world.as_str()
        )),
        "build it for that world of the WIT package `funnelweb:tenant@0.1.0`",
    )
}

//! Manifests that are refused.

use super::*;

/// A manifest of one stage.
fn stage(source: &Path, settings: &str) -> String {
    format!(
        "spin_manifest_version = 2\n[application]\nname = \"one\"\n[trigger]\n[component.stage]\nsource = {source:?}\n\
         [component.stage.tool.funnelweb]\n{settings}\n"
    )
}

#[test]
fn a_component_that_imports_what_it_was_not_granted_is_refused() {
    let snoop = guests_folder().join("snoop.wasm");
    let recall = "role = \"recall\"\nnames = [\"snoop\"]\n";
    let (approved, said) = Written::new(&stage(&snoop, &format!("{recall}grants = [\"documents\", \"live\"]"))).check();
    assert!(approved, "{said}");
    for (settings, import) in [
        (recall.to_owned(), "funnelweb:capabilities/documents"),
        (format!("{recall}grants = [\"documents\"]"), "funnelweb:capabilities/live"),
        // As an endpoint it lacks something else: its export.
        ("role = \"endpoint\"\ngrants = [\"documents\", \"live\"]".to_owned(), "wasi:http/handler"),
        ("role = \"rank\"\nnames = [\"snoop\"]".to_owned(), "funnelweb:capabilities/documents"),
    ] {
        let (approved, said) = Written::new(&stage(&snoop, &settings)).check();
        assert!(!approved, "{settings}");
        assert!(said.contains("`stage`") && said.contains(import), "{settings}: {said}");
    }
    // The right imports, the wrong role.
    let (approved, said) = Written::new(&stage(&guests_folder().join("rank_linear.wasm"), recall)).check();
    assert!(!approved && said.contains("`stage`") && said.contains("funnelweb:pipeline/recall"), "{said}");
}

/// A component that imports a resource of an interface, and nothing else.
fn importing(interface: &str, resource: &str) -> Vec<u8> {
    let named = |name: &str| [&[0, name.len() as u8], name.as_bytes()].concat();
    let section = |id: u8, body: Vec<u8>| [vec![id, body.len() as u8], body].concat();
    // One type, an instance that exports one type: a resource.
    let types = [vec![1, 0x42, 1, 4], named(resource), vec![3, 1]].concat();
    let imports = [vec![1], named(interface), vec![5, 0]].concat();
    [b"\0asm\x0d\0\x01\0".to_vec(), section(7, types), section(10, imports)].concat()
}

#[test]
fn standard_interfaces_are_for_endpoints() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("imports.wasm");
    for (interface, resource) in [
        ("spin:key-value/key-value@3.0.0", "store"),
        ("spin:redis/redis@3.0.0", "connection"),
        ("wasi:keyvalue/store@0.2.0-draft2", "bucket"),
        ("wasi:keyvalue/atomics@0.2.0-draft2", "cas"),
    ] {
        fs::write(&path, importing(interface, resource)).unwrap();
        for role in ["recall", "rank", "rerank"] {
            let (approved, said) = Written::new(&stage(&path, &format!("role = \"{role}\"\nnames = [\"x\"]"))).check();
            assert!(!approved && said.contains("`stage`") && said.contains(interface), "{role}: {said}");
        }
        // As an endpoint it lacks its export alone.
        let (approved, said) = Written::new(&stage(&path, "role = \"endpoint\"")).check();
        assert!(!approved && said.contains("wasi:http/handler") && !said.contains(interface), "{said}");
    }
    for probe in ["redis_probe.wasm", "keyvalue_probe.wasm"] {
        let (approved, said) = Written::new(&stage(&guests_folder().join(probe), "role = \"endpoint\"")).check();
        assert!(approved, "{said}");
    }
}

#[test]
fn what_is_no_component_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let recall = "role = \"recall\"\nnames = [\"x\"]\n";
    for (name, content, reason) in [
        ("module.wasm", &b"\0asm\x01\0\0\0"[..], "module"),
        ("text.wasm", b"hello", ""),
        ("empty.wasm", b"", ""),
        ("cut.wasm", b"\0asm\x0d\0\x01\0\x01\xff", ""),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        let (approved, said) = Written::new(&stage(&path, recall)).check();
        assert!(!approved && said.contains(name) && said.contains(reason), "{said}");
    }
    let (approved, said) = Written::new(&stage(&folder.path().join("absent.wasm"), recall)).check();
    assert!(!approved && said.contains("absent.wasm"), "{said}");
}

#[test]
fn an_unknown_key_is_refused_where_it_stands() {
    let source = guests_folder().join("snoop.wasm");
    let good = stage(&source, "role = \"recall\"\nnames = [\"snoop\"]\ngrants = [\"documents\", \"live\"]");
    for (text, place, key) in [
        (good.replace("names =", "name ="), ":9:1:", "`name`"),
        (good.replace("source =", "  sauce ="), ":6:3:", "`sauce`"),
        (format!("{good}[component.stage.bild]\ncommand = \"true\"\n"), ":11:18:", "`bild`"),
    ] {
        let written = Written::new(&text);
        let (approved, said) = written.check();
        assert!(
            !approved && said.contains(&format!("{}{place}", written.path().display())) && said.contains(key),
            "{place}: {said}"
        );
    }
}

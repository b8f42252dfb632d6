//! Every refusal with its whole text, since the text is what a person gets.

use std::{env, fs, path::Path};

use funnelweb_manifest::Manifest;

#[test]
fn errors_say_where_and_why() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/refused.txt");
    let golden = fs::read_to_string(&file).unwrap();
    let (notes, cases) = golden.split_once("\n\n").unwrap();
    let mut written = format!("{notes}\n");
    for case in cases.trim_end().split("\n\n") {
        let (text, _) = case.split_once("\n=>").unwrap();
        let after = if text.contains("[[trigger.") { "" } else { "[trigger]\n" };
        let whole = format!("spin_manifest_version = 2\napplication = {{ name = \"a\" }}\n{text}\n{after}");
        let error = Manifest::parse(&whole, "app/spin.toml").expect_err(text);
        written += &format!("\n{text}\n=> {error}\n");
    }
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&file, &written).unwrap();
    } else {
        assert_eq!(written, golden, "run again with UPDATE_GOLDEN=1 and read the difference");
    }
}

#[test]
fn other_versions_and_files_that_are_not_there() {
    let error = |text: &str| Manifest::parse(text, "spin.toml").unwrap_err().to_string();
    assert_eq!(
        error("spin_version = \"1\"\nname = \"old\"\n"),
        "spin.toml:1:1: missing key `spin_manifest_version`, which must be 2"
    );
    for version in ["1", "\"2\"", "3"] {
        assert_eq!(
            error(&format!("\nspin_manifest_version = {version}\n")),
            "spin.toml:2:25: spin_manifest_version: must be 2: no other version is read"
        );
    }
    let missing = Manifest::load("no/such/spin.toml").unwrap_err().to_string();
    assert!(missing.starts_with("cannot read no/such/spin.toml: "), "{missing}");
}

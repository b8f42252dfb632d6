//! `funnelweb component new`: a project from a template.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use funnelweb_admission::World;
use funnelweb_core::{id, limits};

use crate::cli::component::{Language, New};

// Made by `build.rs`: `TEMPLATES` and `WIT`, their files by path.
include!(concat!(env!("OUT_DIR"), "/templates.rs"));

/// What an operator allows an upload, who wants to have components in Python: CPython is in
/// each of them.
const PYTHON_UPLOAD_BYTES: usize = 20_000_000;

/// Writes a project into a folder of its name.
pub(super) fn new(args: &New) -> anyhow::Result<()> {
    let New { name, lang: language, world, tenant } = args;
    check_name(name)?;
    id::check(tenant).context("--tenant")?;
    let (lang, world) = (language.as_str(), World::from(*world).as_str());
    let template = template(lang, world);
    if template.is_empty() {
        bail!("there is no template of `{world}` in {lang}; there are {}", templates().join(", "));
    }
    let folder = PathBuf::from(name);
    let places = [("{{name}}", name.as_str()), ("{{tenant}}", tenant.as_str())];
    write(&folder, &template, &places)?;
    println!(
        "{name}/ is for `{world}`, in {lang}. Next:\n\n  cd {name}\n  funnelweb component build\n  {}",
        tested(*language)
    );
    Ok(())
}

/// The command that tests a component in this language.
fn tested(language: Language) -> String {
    match language {
        Language::Rust | Language::Javascript => "funnelweb component test".to_owned(),
        Language::Python => format!("funnelweb component test --upload-bytes {PYTHON_UPLOAD_BYTES}"),
    }
}

/// It names the packages of any language, too.
fn check_name(name: &str) -> anyhow::Result<()> {
    let is_allowed = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-');
    if name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.chars().all(is_allowed)
        && name.len() <= limits::COMPONENT_NAME_BYTES
    {
        return Ok(());
    }
    bail!("the name must be 1 to {} letters, digits, `_` and `-`, a letter first", limits::COMPONENT_NAME_BYTES);
}

/// The files of a template, those of the WIT packages among them.
fn template(lang: &str, world: &str) -> Vec<(String, &'static str)> {
    let prefix = format!("{lang}/{world}/");
    let own = TEMPLATES.iter().filter_map(|(path, text)| Some((path.strip_prefix(&prefix)?.to_owned(), *text)));
    let mut files: Vec<(String, &str)> = own.collect();
    if !files.is_empty() {
        files.extend(WIT.iter().map(|(path, text)| (format!("wit/{path}"), *text)));
    }
    files
}

/// What there are templates of.
fn templates() -> Vec<String> {
    let mut all: Vec<String> = TEMPLATES
        .iter()
        .filter_map(|(path, _)| {
            let mut parts = path.split('/');
            let (lang, world, _) = (parts.next()?, parts.next()?, parts.next()?);
            Some(format!("`{world}` in {lang}"))
        })
        .collect();
    all.dedup();
    all
}

/// Writes files with words in the place of others, into a folder that is not there.
fn write(folder: &Path, files: &[(String, &str)], places: &[(&str, &str)]) -> anyhow::Result<()> {
    fs::create_dir(folder).with_context(|| format!("making the folder {}", folder.display()))?;
    for (path, text) in files {
        let fill = |text: &str| places.iter().fold(text.to_owned(), |text, (place, word)| text.replace(place, word));
        let path = folder.join(fill(path));
        let at = || format!("writing {}", path.display());
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(at)?;
        }
        fs::write(&path, fill(text)).with_context(at)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use funnelweb_admission::Manifest;

    use super::*;

    #[test]
    fn words_stand_in_their_places() {
        let folder = tempfile::tempdir().unwrap();
        let project = folder.path().join("boost");
        let files = [("src/{{name}}.txt".to_owned(), "{{tenant}}/{{name}}, {{name}}; {other}")];
        write(&project, &files, &[("{{name}}", "boost"), ("{{tenant}}", "acme")]).unwrap();
        let text = fs::read_to_string(project.join("src/boost.txt")).unwrap();
        assert_eq!(text, "acme/boost, boost; {other}");
        // What is there is left alone.
        assert!(write(&project, &files, &[]).is_err());
    }

    #[test]
    fn names_are_those_of_packages_of_any_language() {
        for name in ["b", "boost", "boost-2", "Boost_x", &"b".repeat(limits::COMPONENT_NAME_BYTES)] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", "2boost", "-b", "bo.ost", "../x", "bö", &"b".repeat(limits::COMPONENT_NAME_BYTES + 1)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn what_is_large_is_tested_for_a_server_that_takes_it() {
        let flag = format!("--upload-bytes {PYTHON_UPLOAD_BYTES}");
        for language in [Language::Rust, Language::Javascript, Language::Python] {
            let is_large = language == Language::Python;
            assert_eq!(tested(language).contains(&flag), is_large);
            for world in ["recall", "rank", "rerank", "aggregate"] {
                let files = template(language.as_str(), world);
                let (_, readme) = files.iter().find(|(path, _)| path == "README.md").unwrap();
                assert_eq!(readme.contains(&flag), is_large, "{world} in {}", language.as_str());
            }
        }
        assert!((limits::COMPONENT_BYTES..limits::COMPONENT_BYTES_MOST).contains(&PYTHON_UPLOAD_BYTES));
    }

    #[test]
    fn every_template_has_a_manifest_and_the_worlds() {
        assert!(!templates().is_empty());
        for known in templates() {
            let (world, lang) = known.strip_prefix('`').unwrap().split_once("` in ").unwrap();
            let files = template(lang, world);
            let text = |path: &str| {
                let file = files.iter().find(|(known, _)| known == path);
                file.unwrap_or_else(|| panic!("{known}: {path} is missing")).1
            };
            let manifest = Manifest::parse(&text("component.json").replace("{{name}}", "boost")).unwrap();
            assert_eq!((manifest.name.as_str(), manifest.world.as_str()), ("boost", world), "{known}");
            assert!(manifest.build.is_some(), "{known}");
            for path in ["wit/worlds.wit", "wit/deps/pipeline/types.wit", "wit/deps/stream/aggregate.wit"] {
                assert!(text(path).contains("interface") || text(path).contains("world"), "{known}: {path}");
            }
        }
    }
}

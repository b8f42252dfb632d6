//! Writes what fuzzing begins with: the ranker's fixtures, each with one golden row.
//! `seeds FOLDER` makes `FOLDER/upload` and `FOLDER/manifest`.

use std::{collections::BTreeMap, env, error::Error, fs, path::Path};

use base64::{Engine, prelude::BASE64_STANDARD};
use funnelweb_fuzz::graph;
use prost::Message;
use serde_json::Value;

fn main() -> Result<(), Box<dyn Error>> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../components/ranker/fixtures");
    let mut files = BTreeMap::new();
    for name in ["lightgbm", "lightgbm_binary", "lightgbm_lambdarank", "deepfm", "wide_deep"] {
        files.insert(name.to_owned(), fs::read(fixtures.join(format!("{name}.onnx")))?);
    }
    let operators: BTreeMap<String, String> = serde_json::from_slice(&fs::read(fixtures.join("operators.json"))?)?;
    for (name, onnx) in operators {
        files.insert(format!("operator-{name}"), BASE64_STANDARD.decode(onnx)?);
    }
    let folder = env::args().nth(1).ok_or("seeds FOLDER")?;
    let (uploads, manifests) = (Path::new(&folder).join("upload"), Path::new(&folder).join("manifest"));
    fs::create_dir_all(&uploads)?;
    fs::create_dir_all(&manifests)?;
    for (name, onnx) in files {
        let mut model = graph::read(&onnx).ok_or("no ONNX file")?;
        let mut manifest: Value = serde_json::from_str(graph::manifest(&model).ok_or("no manifest")?)?;
        graph::with_one_golden_row(&mut manifest);
        graph::set_manifest(&mut model, manifest.to_string());
        fs::write(uploads.join(&name), model.encode_to_vec())?;
        if !name.starts_with("operator-") {
            fs::write(manifests.join(&name), manifest.to_string())?;
        }
    }
    Ok(())
}

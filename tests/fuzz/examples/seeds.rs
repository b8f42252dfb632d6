//! Writes what fuzzing begins with, the ranker's fixtures: `seeds FOLDER` makes
//! `FOLDER/upload` and `FOLDER/manifest`.

use std::{collections::BTreeMap, env, error::Error, fs, path::Path};

use base64::{Engine, prelude::BASE64_STANDARD};
use funnelweb_fuzz::graph;

fn main() -> Result<(), Box<dyn Error>> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../components/ranker/fixtures");
    let folder = env::args().nth(1).ok_or("seeds FOLDER")?;
    let (uploads, manifests) = (Path::new(&folder).join("upload"), Path::new(&folder).join("manifest"));
    fs::create_dir_all(&uploads)?;
    fs::create_dir_all(&manifests)?;
    for name in ["lightgbm", "lightgbm_binary", "lightgbm_lambdarank", "deepfm", "wide_deep"] {
        let onnx = fs::read(fixtures.join(format!("{name}.onnx")))?;
        let model = graph::read(&onnx).ok_or("no ONNX file")?;
        fs::write(manifests.join(name), graph::manifest(&model).ok_or("no manifest")?)?;
        fs::write(uploads.join(name), onnx)?;
    }
    let operators: BTreeMap<String, String> = serde_json::from_slice(&fs::read(fixtures.join("operators.json"))?)?;
    for (name, onnx) in operators {
        fs::write(uploads.join(format!("operator-{name}")), BASE64_STANDARD.decode(onnx)?)?;
    }
    Ok(())
}

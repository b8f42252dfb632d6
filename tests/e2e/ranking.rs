//! From what users were shown to a model that ranks: the demo's users visit, the log is
//! exported, models are trained on it by `models/`, uploaded and activated; and what they
//! then show is better than what was shown before, by the tastes that the demo knows.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use funnelweb_demo::{Kind, SEED, Size, World};
use funnelweb_import::{load_demo, visit_demo};
use serde_json::{Value, json};

use crate::{
    fixtures::slate,
    harness::{Client, Server, binary, workspace},
};

const TENANT: &str = "ranking";
const VISITS: u64 = 1_500;
const COUNT: usize = 10;

/// The Python that `cargo xtask test --only models` sets up, or `$FUNNELWEB_MODELS_PYTHON`.
fn python() -> PathBuf {
    let usual = || workspace().join("target/models/bin/python");
    let python = std::env::var_os("FUNNELWEB_MODELS_PYTHON").map_or_else(usual, PathBuf::from);
    assert!(python.exists(), "{} does not exist; `cargo xtask test --only models` makes it", python.display());
    python
}

/// What a command prints; it must succeed.
fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{told}");
    String::from_utf8(output.stdout).unwrap()
}

/// The training project, asked with these words.
fn models(words: &[&str]) -> String {
    output(Command::new(python()).current_dir(workspace().join("models")).args(["-m", "funnelweb_models"]).args(words))
}

/// Has the scenario ranked by a model, with nothing left out of what was shown.
fn rank_by(client: &Client, world: &World, model: &str, shown_again: bool) {
    let mut scenario: Value = serde_json::from_str(world.scenario_json()).unwrap();
    scenario["config"]["rank"] = json!({"model": model});
    scenario["config"]["rerank"] = json!({"rules": []});
    scenario["config"]["cache"] = json!({"enabled": false});
    scenario["config"]["exposure"] = json!({"enabled": !shown_again, "log_share": if shown_again { 0 } else { 1 }});
    client.put(&format!("/api/v1/scenarios/{}", world.scenario_id()), &scenario).expect(200);
}

/// The mean NDCG of all users' slates; what a user gains from an item is how likely they
/// take to it.
fn ndcg(client: &Client, world: &World) -> f64 {
    let dcg = |user: u32, items: &[String]| -> f64 {
        let gain = |(place, id): (usize, &String)| {
            f64::from(world.affinity(user, world.item_index(id).unwrap())) / (place as f64 + 2.0).log2()
        };
        items.iter().enumerate().map(gain).sum()
    };
    let users = world.size().users;
    let of_user = |user: u32| {
        let body = json!({"scenario_id": world.scenario_id(), "count": COUNT});
        let reply = client.post("/api/v1/recommend", &body).user(&world.user_id(user)).expect(200);
        let failed = reply.json()["degraded"].clone();
        let ranked = |stage: &Value| stage["stage"] != "user_cf" && stage["stage"] != "vector_search";
        assert!(!failed.as_array().unwrap().iter().any(ranked), "{failed}");
        dcg(user, &slate(&reply)) / dcg(user, &world.best(user, COUNT))
    };
    (0..users).map(of_user).sum::<f64>() / f64::from(users)
}

fn export(server: &Server, world: &World, log: &Path) -> String {
    let data_dir = server.data_dir();
    let mut command = Command::new(binary());
    command.args(["export-training", "--tenant", TENANT, "--scenario", world.scenario_id(), "--unfinished"]);
    output(command.arg("--data-dir").arg(data_dir).arg("--out").arg(log))
}

#[test]
fn a_model_that_was_trained_on_what_was_shown_ranks_better() {
    let server = Server::start();
    let client = server.tenant(TENANT);
    let now_ms = u64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    let world = World::new(Kind::Ecommerce, Size { items: 1_000, users: 150, events: 8_000 }, SEED, now_ms).unwrap();
    let importer = funnelweb_import::Client::new(&server.url(), TENANT).unwrap();
    load_demo(&importer, &world, &mut |_| {}).unwrap();
    rank_by(&client, &world, "linear", false);
    let visited = visit_demo(&importer, &world, VISITS, 20, &mut |_| {}).unwrap();
    assert_eq!((visited.visits, visited.behaviors.failed), (VISITS, 0));
    rank_by(&client, &world, "linear", true);
    let linear = ndcg(&client, &world);

    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log.parquet");
    println!("{}", export(&server, &world, &log));
    let (log, url) = (log.to_str().unwrap(), server.url());
    for kind in ["lightgbm", "deepfm", "wide_deep"] {
        let out = folder.path().join(kind);
        let (out, model) = (out.to_str().unwrap(), out.join("model.onnx"));
        let model = model.to_str().unwrap();
        models(&["train", "--data", log, "--kind", kind, "--version", "v1", "--out", out]);
        models(&["push", "--url", &url, "--tenant", TENANT, "--token", "t", "--activate", out]);
        // Scored in the sandbox as by the Python model.
        let measure = |more: &[&str]| -> Value {
            let words = [&["evaluate", "--data", log, "--model", model], more].concat();
            serde_json::from_str(&models(&words)).unwrap()
        };
        let (here, there) = (measure(&[]), measure(&["--url", &url, "--tenant", TENANT, "--token", "t"]));
        let auc = |measured: &Value| measured["auc"].as_f64().unwrap();
        assert!((auc(&here) - auc(&there)).abs() < 5e-5, "{kind}: {here} {there}");
        let metrics: Value =
            serde_json::from_str(&std::fs::read_to_string(Path::new(out).join("metrics.json")).unwrap()).unwrap();
        let baseline = auc(&metrics["baseline"]);

        rank_by(&client, &world, kind, true);
        let ranked = ndcg(&client, &world);
        println!(
            "{kind}: AUC {:.4} (baseline {baseline:.4}), NDCG@{COUNT} {ranked:.4} (linear {linear:.4})",
            auc(&there)
        );
        assert!(ranked > linear, "{kind}: {ranked} against {linear}");
    }
}

use std::path::PathBuf;

use super::*;
use crate::split;

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

fn fault(result: Result<impl std::fmt::Debug>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn a_fixed_split_of_user_lists_is_read_by_parts() {
    let files = Files::new();
    let (train, test) = (files.write("train.txt", "0 1 2 3\n1 2\n"), files.write("test.txt", "0 2 9\n1 3 1\n"));
    let mut material = Material::default();
    let mut read =
        |path| material.add_behaviors(path, Some("user-lists-behaviors"), "s", &Behaviors::default()).unwrap();
    let (train, test) = (read(&train), read(&test));
    assert_eq!((&train[..], &test[..]), (&[0, 1, 2, 3][..], &[4, 5, 6, 7][..]));
    let split = split::fixed(&material.data, train, test, 1).unwrap();
    let names = |item: &(u32, f32)| material.data.items.id(item.0).to_owned();
    let wanted: Vec<Vec<String>> = split.asked.iter().map(|asked| asked.wanted.iter().map(names).collect()).collect();
    assert_eq!(wanted, [vec!["item_9"], vec!["item_1", "item_3"]]);
    assert!(material.bodies[0].contains(r#""scenario_id":"s""#) && material.bodies.len() == 8);
    material.complete_items();
    assert_eq!(material.items.len(), 4);
    assert!(material.items.contains(&r#"{"item_id":"item_9"}"#.into()));
}

#[test]
fn ratings_weigh_what_the_scenario_says() {
    let files = Files::new();
    let ratings = files.write("u.data", "1\t7\t5\t881250949\n1\t8\t3\t881250950\n2\t7\t1\t881250951\n");
    let mut behaviors = Behaviors::default();
    behaviors.weights.insert("view".to_owned(), 0.5);
    let mut material = Material::default();
    material.add_behaviors(&ratings, Some("movielens-100k-ratings"), "s", &behaviors).unwrap();
    let gains: Vec<f32> = material.data.events.iter().map(|event| event.gain).collect();
    assert_eq!(gains, [3.0, 0.5, -4.0]);
    assert_eq!(material.data.events[1].at_ms, 881_250_950_000);
}

#[test]
fn the_api_s_own_lines_are_read_with_and_without_times() {
    let files = Files::new();
    let line = |rest: &str| format!(r#"{{"user_id":"u","item_id":"i","action_type":"click"{rest}}}"#);
    let path = files.write(
        "b.ndjson",
        &[line(""), line(r#","timestamp":"2025-01-01T00:00:00Z""#), line(r#","timestamp":1735689601"#)].join("\n"),
    );
    let mut material = Material::default();
    assert_eq!(material.add_behaviors(&path, None, "s", &Behaviors::default()).unwrap(), [0, 1, 2]);
    let times: Vec<u64> = material.data.events.iter().map(|event| event.at_ms).collect();
    assert_eq!(times, [0, 1_735_689_600_000, 1_735_689_601_000]);
}

#[test]
fn items_are_compared_by_words_or_else_by_embeddings() {
    let mut material = Material::default();
    material.add_item(r#"{"item_id":"a","embedding":[1,0]}"#).unwrap();
    material.add_item(r#"{"item_id":"b","embedding":[0,1],"metadata":{"title":"x"}}"#).unwrap();
    let diversity = |material: &Material| {
        let catalogue = crate::Catalogue::new(&material.data, &[], material.features());
        catalogue.of_slate(&[0, 1], &[2], &mut catalogue.scratch())[1]
    };
    assert_eq!(diversity(&material), 1.0);
    // The same item again takes the place of the first.
    material.add_item(r#"{"item_id":"a","metadata":{"category":"c","tags":["c","t"]}}"#).unwrap();
    assert!(diversity(&material).is_nan());
    material.add_item(r#"{"item_id":"b","metadata":{"category":"c"}}"#).unwrap();
    assert!((diversity(&material) - (1.0 - (1.0_f64 / 3.0).sqrt())).abs() < 1e-6);
    assert_eq!(material.items.len(), 2);
    assert!(material.items[0].contains("tags"));
}

#[test]
fn what_is_wrong_names_its_file_and_line() {
    let files = Files::new();
    let mut material = Material::default();
    let mut read = |path: &Path, mapping| material.add_behaviors(path, mapping, "s", &Behaviors::default());
    let short = files.write("u.data", "1\t7\t5\t881250949\n1\t8\n");
    let message = fault(read(&short, Some("movielens-100k-ratings")));
    assert!(message.ends_with("u.data, line 2: has 2 values, 4 are expected"), "{message}");
    let id = files.write("p.tsv", "1\ta b\n");
    let message = fault(read(&id, Some("pairs-behaviors")));
    assert!(message.contains("p.tsv, line 1: item_id: "), "{message}");
    let time = files.write("t.ndjson", r#"{"user_id":"u","item_id":"i","action_type":"click","timestamp":"soon"}"#);
    let message = fault(read(&time, None));
    assert!(message.ends_with("t.ndjson, line 1: timestamp: \"soon\" is no time"), "{message}");
    let user = files.write("n.ndjson", r#"{"item_id":"i","action_type":"click"}"#);
    let message = fault(read(&user, None));
    assert!(message.contains("missing field `user_id`"), "{message}");
    assert!(fault(read(&user, Some("pairs-items"))).contains("kind"));
    assert!(fault(read(Path::new("/nowhere/x"), None)).contains("/nowhere/x"));
    let items = files.write("i.csv", "item_id,tags\na/b,x\n");
    assert!(fault(material.add_items(&items, None, "s")).contains("i.csv, line 2"), "of a header too");
}

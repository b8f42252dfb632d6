use std::{cell::RefCell, collections::BTreeMap};

use proptest::prelude::*;

use super::*;

/// A store that keeps the WIT's promises.
#[derive(Default)]
struct Store {
    items: BTreeMap<String, String>,
    batches: Vec<usize>,
}

impl Store {
    fn insert(&mut self, documents: &[NewDocument], replace: bool) -> Vec<InsertOutcome> {
        self.batches.push(documents.len());
        let mut seen = Vec::new();
        documents
            .iter()
            .map(|document| {
                let id = document.key.id.clone();
                assert!(!seen.contains(&id), "an id stands once in a call");
                seen.push(id.clone());
                match self.items.get(&id) {
                    _ if id.starts_with("clash") => InsertOutcome::Collision,
                    Some(_) if !replace => InsertOutcome::Duplicate,
                    found => {
                        let outcome = if found.is_some() { InsertOutcome::Replaced } else { InsertOutcome::Created };
                        self.items.insert(id, document.body.clone());
                        outcome
                    }
                }
            })
            .collect()
    }
}

fn import(
    store: &RefCell<Store>,
    on: OnDuplicate,
    media: Media,
    text: &[u8],
    chunk: usize,
) -> Result<Report, ApiError> {
    let insert = |documents: &[NewDocument], replace| {
        let outcomes = store.borrow_mut().insert(documents, replace);
        Ok(move || Ok(outcomes))
    };
    let mut import = Import::new("s1", on, media, insert);
    for chunk in text.chunks(chunk) {
        import.push(chunk)?;
    }
    import.finish()
}

fn counts(report: &Report) -> [u64; 5] {
    [report.lines, report.created, report.replaced, report.skipped, report.errors.failed]
}

const LINES: &[u8] = br#"{"item_id":"a","metadata":{"n":1}}
{"item_id":"b"}

{"item_id":"a","metadata":{"n":2}}
{"item_id":"clash"}
{"item_id":}
{"item_id":"c","metadata":{"tags":[1]}}
"#;

#[test]
fn the_report_counts_as_if_line_by_line() {
    let store = RefCell::default();
    let report = import(&store, OnDuplicate::Replace, Media::Ndjson, LINES, 7).unwrap();
    assert_eq!(counts(&report), [6, 2, 1, 0, 3]);
    assert!(store.borrow().items["a"].contains("\"n\":2"), "the last one wins");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["errors_truncated"], false);
    let errors: Vec<_> = report.errors.errors.iter().map(|error| (error.line, error.code)).collect();
    assert_eq!(errors, [(5, Code::IdCollision), (6, Code::InvalidJson), (7, Code::InvalidField)]);
    assert_eq!(report.errors.errors[2].field.as_deref(), Some("metadata.tags[0]"));
    assert!(report.errors.errors[1].message.ends_with("at column 12"), "{}", report.errors.errors[1].message);

    let again = import(&store, OnDuplicate::Replace, Media::Ndjson, LINES, 7).unwrap();
    assert_eq!(counts(&again), [6, 0, 3, 0, 3]);
}

#[test]
fn what_exists_can_be_kept() {
    let store = RefCell::default();
    let report = import(&store, OnDuplicate::Skip, Media::Ndjson, LINES, 99).unwrap();
    assert_eq!(counts(&report), [6, 2, 0, 1, 3]);
    assert!(store.borrow().items["a"].contains("\"n\":1"), "the first one stays");
    let report = import(&store, OnDuplicate::Error, Media::Ndjson, LINES, 99).unwrap();
    assert_eq!(counts(&report), [6, 0, 0, 0, 6]);
    let codes: Vec<_> = report.errors.errors.iter().map(|error| (error.line, error.code)).collect();
    assert_eq!(codes[..3], [(1, Code::AlreadyExists), (2, Code::AlreadyExists), (4, Code::AlreadyExists)]);
}

#[test]
fn arrays_and_csv_are_the_same_items() {
    let array = br#" [{"item_id":"a","metadata":{"n":1,"tags":["x","y"]}}, {"item_id":"b"}, 7, {"item_id":}] "#;
    let csv = b"item_id,n,tags\r\na,1,x|y\r\nb,,\r\n7\r\n,1,\r\n";
    let (from_array, from_csv) = (RefCell::default(), RefCell::default());
    for chunk in [1, 5, 99] {
        let report = import(&from_array, OnDuplicate::Replace, Media::Json, array, chunk).unwrap();
        assert_eq!((report.lines, report.errors.failed), (4, 2));
        let report = import(&from_csv, OnDuplicate::Replace, Media::Csv, csv, chunk).unwrap();
        assert_eq!((report.lines, report.errors.failed), (4, 2));
        let lines: Vec<_> = report.errors.errors.iter().map(|error| error.line).collect();
        assert_eq!(lines, [4, 5]);
    }
    assert_eq!(from_array.borrow().items, from_csv.borrow().items);
}

#[test]
fn batches_are_bounded_and_an_end_says_how_far_it_came() {
    let store = RefCell::<Store>::default();
    let lines: String = (0..2 * BATCH_ITEMS + 5).map(|at| format!("{{\"item_id\":\"i{at}\"}}\n")).collect();
    import(&store, OnDuplicate::Replace, Media::Ndjson, lines.as_bytes(), 1000).unwrap();
    assert_eq!(store.borrow().batches, [BATCH_ITEMS, BATCH_ITEMS, 5]);

    // The second batch is not written; the third is being read.
    let mut begun = 0;
    let insert = |documents: &[NewDocument], _| {
        begun += 1;
        let (number, outcomes) = (begun, vec![InsertOutcome::Created; documents.len()]);
        let full = || ApiError::new(Code::StoreUnavailable, "the disk is full");
        Ok(move || if number == 2 { Err(full()) } else { Ok(outcomes) })
    };
    let mut import = Import::new("s1", OnDuplicate::Replace, Media::Ndjson, insert);
    import.push(lines.as_bytes()).unwrap();
    let error = import.finish().unwrap_err();
    assert_eq!(error.code, Code::StoreUnavailable);
    let end = format!("{BATCH_ITEMS} items are stored, {} were not", BATCH_ITEMS + 5);
    assert!(error.message.contains(&end), "{}", error.message);
}

#[test]
fn a_broken_array_is_an_error_of_the_whole() {
    let error =
        import(&RefCell::default(), OnDuplicate::Replace, Media::Json, b"[{\"item_id\":\"a\"}", 99).unwrap_err();
    assert_eq!(error.code, Code::InvalidJson);
    let error = import(&RefCell::default(), OnDuplicate::Replace, Media::Csv, b"", 99).unwrap_err();
    assert_eq!(error.code, Code::InvalidField);
}

#[test]
fn a_long_line_is_an_error_of_its_own() {
    let text = format!("{{\"item_id\":\"{}\"}}\n{{\"item_id\":\"a\"}}\n", "x".repeat(limits::LINE_BYTES));
    let report = import(&RefCell::default(), OnDuplicate::Replace, Media::Ndjson, text.as_bytes(), 16384).unwrap();
    assert_eq!(counts(&report), [2, 1, 0, 0, 1]);
    assert_eq!(report.errors.errors[0].code, Code::BodyTooLarge);
}

proptest! {
    /// The store ends as if the lines were written one by one.
    #[test]
    fn order_is_kept(ids in proptest::collection::vec(0_u8..5, 0..20), replace in any::<bool>(), chunk in 1_usize..50) {
        let text: String = ids
            .iter()
            .enumerate()
            .map(|(at, id)| format!("{{\"item_id\":\"i{id}\",\"metadata\":{{\"at\":{at}}}}}\n"))
            .collect();
        let store = RefCell::default();
        let on = if replace { OnDuplicate::Replace } else { OnDuplicate::Skip };
        let report = import(&store, on, Media::Ndjson, text.as_bytes(), chunk).unwrap();
        let mut expected = BTreeMap::new();
        for (at, id) in ids.iter().enumerate() {
            if replace {
                expected.insert(format!("i{id}"), at);
            } else {
                expected.entry(format!("i{id}")).or_insert(at);
            }
        }
        let found: BTreeMap<String, usize> = store
            .borrow()
            .items
            .iter()
            .map(|(id, body)| {
                let body: serde_json::Value = serde_json::from_str(body).unwrap();
                (id.clone(), usize::try_from(body["metadata"]["at"].as_u64().unwrap()).unwrap())
            })
            .collect();
        prop_assert_eq!(report.created, expected.len() as u64);
        prop_assert_eq!(report.created + report.replaced + report.skipped, ids.len() as u64);
        prop_assert_eq!(found, expected);
    }
}

//! Requests against stores that keep the WIT's promises.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use events::{AppendOutcome, Event, Signal};

use super::*;

#[derive(Default)]
struct Fake {
    log: BTreeMap<String, Option<Signal>>,
    appends: Vec<usize>,
    item_calls: usize,
    down: bool,
}

#[derive(Clone, Default)]
struct Shared(Rc<RefCell<Fake>>);

impl Stores for Shared {
    fn scenario(&mut self, scenario_id: &str) -> Result<Option<String>, ApiError> {
        let body = r#"{"config":{"recall":{"strategies":[]},"behaviors":{"weights":{"hum":1}}}}"#;
        Ok((scenario_id == "s1").then(|| body.to_owned()))
    }

    fn items(&mut self, keys: &[Key]) -> Result<Vec<Option<String>>, ApiError> {
        self.0.borrow_mut().item_calls += 1;
        Ok(keys
            .iter()
            .map(|key| key.id.starts_with('i').then(|| r#"{"metadata":{"category":"c"}}"#.to_owned()))
            .collect())
    }

    fn append(&mut self, events: &[Event]) -> Result<Vec<AppendOutcome>, ApiError> {
        assert!((1..=limits::EVENTS).contains(&events.len()));
        let mut fake = self.0.borrow_mut();
        if fake.down {
            return Err(ApiError::new(Code::StoreUnavailable, "the disk is full"));
        }
        fake.appends.push(events.len());
        Ok(events
            .iter()
            .map(|event| match fake.log.insert(event.event_id.clone(), event.signal.clone()) {
                None => AppendOutcome::Accepted,
                Some(_) => AppendOutcome::Duplicate,
            })
            .collect())
    }
}

const SENDER: Sender<'_> = Sender { request_id: "r1", user_id: Some("u1"), now_ms: 1_767_225_600_000 };

fn event(item_id: &str) -> String {
    format!(r#"{{"scenario_id":"s1","item_id":"{item_id}","action_type":"hum"}}"#)
}

fn list(events: &[String]) -> Vec<u8> {
    format!("[{}]", events.join(",\n")).into_bytes()
}

fn ndjson(text: &str, stores: Shared, chunk: usize) -> Result<stream::Report, ApiError> {
    let mut stream = Stream::new(SENDER, stores);
    for chunk in text.as_bytes().chunks(chunk) {
        stream.push(chunk)?;
    }
    stream.finish()
}

#[test]
fn a_repeated_request_counts_once() {
    let stores = Shared::default();
    let body = list(&[event("i1"), event("i1"), event("x")]);
    let counts = many(&body, SENDER, stores.clone()).unwrap();
    assert_eq!(counts, Counts { accepted: 3, duplicates: 0 });
    let counts = many(&body, SENDER, stores.clone()).unwrap();
    assert_eq!(counts, Counts { accepted: 0, duplicates: 3 });
    assert_eq!(one(event("i1").as_bytes(), SENDER, stores.clone()).unwrap().duplicates, 1);
    let fake = stores.0.borrow();
    assert_eq!(fake.item_calls, 3, "one call a batch");
    // The scenario's own weight counts; an item that is not there teaches nothing.
    let said: Vec<&Signal> = fake.log.values().flatten().collect();
    assert!(said.iter().all(|signal| signal.weight == 1.0 && signal.known != signal.preferences.is_empty()));
    assert_eq!((said.len(), said.iter().filter(|signal| signal.known).count()), (3, 2));
}

#[test]
fn a_list_is_taken_whole_or_not_at_all() {
    let stores = Shared::default();
    let fault = |body: &[u8]| {
        let error = many(body, SENDER, stores.clone()).unwrap_err();
        (error.code, error.field.unwrap_or_default())
    };
    let mut events = vec![event("i1"), event("i2"), event("i3"), event("a/b")];
    assert_eq!(fault(&list(&events)), (Code::InvalidField, "[3].item_id".into()));
    events[3] = event("i4").replace("s1", "s2");
    assert_eq!(fault(&list(&events)), (Code::ScenarioNotFound, "[3].scenario_id".into()));
    events[3] = "7".into();
    assert_eq!(fault(&list(&events)), (Code::InvalidField, "[3]".into()));
    assert_eq!(fault(b"[]").0, Code::InvalidField);
    assert_eq!(fault(&list(&vec![event("i1"); limits::EVENTS + 1])).0, Code::InvalidField);
    assert_eq!(fault(b"[{},\n{]").0, Code::InvalidJson);
    assert!(stores.0.borrow().log.is_empty());
    assert!(many(&list(&vec![event("i1"); limits::EVENTS]), SENDER, stores).is_ok());
}

#[test]
fn a_stream_reports_by_line() {
    let stores = Shared::default();
    let text = format!(
        "{}\n\n{}\n{{\n{}\n{}",
        event("i1"),
        event("a/b"),
        event("i2").replace("s1", "s2"),
        event("i3").replace('{', r#"{"event_id":"e1","#)
    );
    for chunk in [1, 7, 999] {
        let report = ndjson(&text, stores.clone(), chunk).unwrap();
        assert_eq!((report.lines, report.errors.failed), (5, 3));
        assert_eq!(report.accepted + report.duplicates, 2);
        let errors: Vec<_> =
            report.errors.errors.iter().map(|error| (error.line, error.code, error.field.as_deref())).collect();
        assert_eq!(
            errors,
            [
                (3, Code::InvalidField, Some("item_id")),
                (4, Code::InvalidJson, None),
                (5, Code::ScenarioNotFound, Some("scenario_id"))
            ]
        );
    }
    assert_eq!(stores.0.borrow().log.len(), 2);
    let json = serde_json::to_value(stream::Report::of_all(Counts { accepted: 1, duplicates: 2 })).unwrap();
    assert_eq!(
        json,
        serde_json::json!({"accepted": 1, "duplicates": 2, "lines": 3, "failed": 0, "errors": [], "errors_truncated": false})
    );
}

#[test]
fn a_stream_goes_in_batches_and_ends_where_the_store_fails() {
    let stores = Shared::default();
    let text: String = (0..limits::EVENTS * 2 + 1).map(|at| event(&format!("i{at}")) + "\n").collect();
    let report = ndjson(&text, stores.clone(), 4096).unwrap();
    assert_eq!(report.accepted, limits::EVENTS as u64 * 2 + 1);
    assert_eq!(stores.0.borrow().appends, [limits::EVENTS, limits::EVENTS, 1]);
    stores.0.borrow_mut().down = true;
    let error = ndjson(&text, stores, 4096).unwrap_err();
    assert_eq!(error.code, Code::StoreUnavailable);
    assert!(error.message.contains("after 1000 lines: 0 events are stored"), "{}", error.message);
}

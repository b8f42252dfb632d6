//! `kill -9` while items are imported and behaviours come in, fifty times on one
//! data directory: what was acknowledged is there, what was not is there as a
//! whole or not at all, and the counters say what the log says.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{JoinHandle, sleep, spawn},
    time::{Duration, Instant},
};

use funnelweb_core::limits;
use serde_json::{Value, json};

use crate::{
    fixtures::{FEED, all_pages, feed, import, item, ndjson, settle, strings},
    harness::{Client, Server},
};

const ROUNDS: usize = 50;
/// Items of one request, and events of one; each is one transaction.
const ITEMS: usize = 150;
const EVENTS: usize = 25;

/// What one writer sent, batch by batch; the last may lack its answer.
#[derive(Default)]
struct Sent {
    acknowledged: Vec<usize>,
    unknown: Option<usize>,
}

/// Sends batch after batch until the server is gone.
fn write(stop: Arc<AtomicBool>, send: impl Fn(usize) -> bool + Send + 'static) -> JoinHandle<Sent> {
    spawn(move || {
        let mut sent = Sent::default();
        for batch in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            if !send(batch) {
                sent.unknown = Some(batch);
                break;
            }
            sent.acknowledged.push(batch);
        }
        sent
    })
}

fn item_ids(round: usize, batch: usize) -> Vec<String> {
    (0..ITEMS).map(|at| format!("r{round}_b{batch}_{at}")).collect()
}

fn import_items(client: Client, stop: Arc<AtomicBool>, round: usize) -> JoinHandle<Sent> {
    write(stop, move |batch| {
        let items: Vec<Value> = item_ids(round, batch)
            .iter()
            .map(|id| item(id, &format!("round {round}"), &format!("r{round}b{batch}")))
            .collect();
        let call = client.call("POST", "/api/v1/items/feed").body("application/x-ndjson", ndjson(&items));
        call.try_send().is_ok_and(|reply| {
            assert_eq!((reply.status, &reply.json()["created"]), (200, &json!(ITEMS)), "{}", reply.text());
            true
        })
    })
}

/// The events of one batch, all of one user of the round and about one item.
fn events(round: usize, batch: usize) -> Value {
    let event = |at| {
        json!({"event_id": format!("r{round}-b{batch}-{at}"), "scenario_id": FEED, "user_id": format!("user{round}"),
               "item_id": "target", "action_type": "click"})
    };
    Value::Array((0..EVENTS).map(event).collect())
}

fn send_events(client: Client, stop: Arc<AtomicBool>, round: usize) -> JoinHandle<Sent> {
    write(stop, move |batch| {
        client.post("/api/v1/behaviors", &events(round, batch)).try_send().is_ok_and(|reply| {
            assert_eq!((reply.status, &reply.json()["accepted"]), (202, &json!(EVENTS)), "{}", reply.text());
            true
        })
    })
}

/// The events of a round, from the log.
fn history(client: &Client, round: usize) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut before = String::new();
    loop {
        let path = format!("/api/v1/behaviors?user_id=user{round}&limit=1000{before}");
        let page = client.get(&path).expect(200).json();
        found.extend(strings(&page["events"], "event_id"));
        let Some(next) = page["next_before"].as_u64() else { return found };
        before = format!("&before={next}");
    }
}

fn imported(client: &Client, round: usize) -> BTreeSet<String> {
    let path = format!("/api/v1/items/feed?limit=1000&category=round%20{round}");
    strings(&Value::Array(all_pages(client, &path, "items")), "item_id").into_iter().collect()
}

/// What must be there: all that was acknowledged, and of the last batch all or
/// nothing. Returns what is there.
fn all_or_nothing(sent: &Sent, found: BTreeSet<String>, ids: impl Fn(usize) -> Vec<String>) -> BTreeSet<String> {
    let mut expected: BTreeSet<String> = sent.acknowledged.iter().flat_map(|batch| ids(*batch)).collect();
    let lost = expected.difference(&found).count();
    assert_eq!(lost, 0, "{lost} of {} acknowledged are lost", expected.len());
    if let Some(batch) = sent.unknown {
        let ids = ids(batch);
        let there = ids.iter().filter(|id| found.contains(*id)).count();
        assert!(there == 0 || there == ids.len(), "{there} of a batch of {} are there", ids.len());
        if there > 0 {
            expected.extend(ids);
        }
    }
    assert_eq!(expected, found);
    found
}

fn clicks(client: &Client, round: usize) -> u64 {
    let reply = client.get(&format!("/api/v1/profiles/feed/user{round}")).send();
    reply.assert_status(&[200, 404]);
    reply.json()["features"]["total_click_count"].as_f64().unwrap_or_default() as u64
}

/// The counter of the one item that all events are about.
fn target_clicks(client: &Client) -> u64 {
    let body = json!({"scenario_id": FEED, "count": 1});
    let explain = client.post("/api/v1/recommend?explain=true", &body).expect(200).json()["explain"].clone();
    let rows = explain["features"]["items"].as_array().unwrap();
    let row = rows.iter().find(|row| row["item_id"] == "target").unwrap();
    row["click_count"].as_f64().unwrap() as u64
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_half_applied() {
    let begin = Instant::now();
    let mut server = Server::start();
    let setup = server.tenant("crash");
    feed(&setup);
    let config = json!({"config": {"features": {"item_features": [{"name": "click_count", "type": "numeric"}]},
                                   "recall": {"strategies": [{"name": "hot_items"}]}}});
    setup.patch("/api/v1/scenarios/feed", &config).expect(200);
    import(&setup, &[item("target", "the target", "t")]);

    let mut total_events = 0;
    let mut total_items = 0;
    let (mut cut_imports, mut cut_events) = (0, 0);
    let mut slowest = Duration::ZERO;
    for round in 0..ROUNDS {
        let client = server.tenant("crash");
        let stop = Arc::new(AtomicBool::new(false));
        let importer = import_items(client.clone(), Arc::clone(&stop), round);
        let senders = send_events(client, Arc::clone(&stop), round);
        // At another moment of the writing each time.
        sleep(Duration::from_millis(30 + (round as u64 * 37) % 150));
        server.kill9();
        stop.store(true, Ordering::Relaxed);
        let (items, behaviours) = (importer.join().unwrap(), senders.join().unwrap());

        slowest = slowest.max(server.restart());
        let client = server.tenant("crash");
        settle(&client);
        let found = all_or_nothing(&items, imported(&client, round), |batch| item_ids(round, batch));
        total_items += found.len();
        let ids = |batch| strings(&events(round, batch), "event_id");
        let found = all_or_nothing(&behaviours, history(&client, round), ids);
        assert_eq!(clicks(&client, round), found.len() as u64, "the profile's counter");
        total_events += found.len() as u64;

        // What has no answer is sent again, and counts once.
        if let Some(batch) = behaviours.unknown {
            cut_events += 1;
            let report = client.post("/api/v1/behaviors", &events(round, batch)).expect(202).json();
            let (accepted, duplicates) = (report["accepted"].as_u64().unwrap(), report["duplicates"].as_u64().unwrap());
            assert!(
                (accepted, duplicates) == (EVENTS as u64, 0) || (accepted, duplicates) == (0, EVENTS as u64),
                "{report}"
            );
            total_events += accepted;
            settle(&client);
            assert_eq!(clicks(&client, round), found.len() as u64 + accepted);
        }
        cut_imports += usize::from(items.unknown.is_some());
    }
    let client = server.tenant("crash");
    settle(&client);
    assert_eq!(target_clicks(&client), total_events, "the item's counter");
    let all = all_pages(&client, "/api/v1/items/feed?limit=1000", "items");
    assert_eq!(all.len(), total_items + 1);
    println!(
        "{ROUNDS} crashes in {:.1?}: {total_items} items, {total_events} events; {cut_imports} imports and {cut_events} \
         batches of events were cut off; slowest restart {slowest:.0?}",
        begin.elapsed()
    );
    // A crash that interrupts nothing would show nothing.
    assert!(cut_imports > ROUNDS / 2 && cut_events > ROUNDS / 2, "{cut_imports} {cut_events}");
    assert!(total_events > 0 && total_items > 0);
    assert!(server.sigterm().success());
}

/// Items that an import writes at once.
const BATCH: usize = limits::INSERT_DOCUMENTS;

#[test]
fn a_long_import_that_is_cut_off_keeps_whole_batches() {
    let mut server = Server::start();
    let client = server.tenant("crash-long");
    feed(&client);
    let lines: String = (0..60_000).map(|at| format!("{}\n", item(&format!("i{at:05}"), "a", "t"))).collect();
    let sender = {
        let client = client.clone();
        spawn(move || client.call("POST", "/api/v1/items/feed").body("application/x-ndjson", lines).try_send().is_ok())
    };
    crate::harness::eventually("items to arrive", Duration::from_secs(20), || {
        let second = format!("/api/v1/items/feed/i{:05}", 2 * BATCH - 1);
        (client.get(&second).send().status == 200).then_some(())
    });
    server.kill9();
    assert!(!sender.join().unwrap(), "it was too late to cut it off");
    server.restart();
    let client = server.tenant("crash-long");
    let mut ids = strings(&Value::Array(all_pages(&client, "/api/v1/items/feed?limit=1000", "items")), "item_id");
    ids.sort();
    // The first so many batches, in the order in which they were sent.
    assert!(ids.len() >= 2 * BATCH && ids.len() < 60_000 && ids.len().is_multiple_of(BATCH), "{}", ids.len());
    assert_eq!(ids.last().unwrap(), &format!("i{:05}", ids.len() - 1));
}

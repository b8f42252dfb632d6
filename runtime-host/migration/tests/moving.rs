//! From one embedded store to another: what moves, and what is refused.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests: a failed check is a panic")]

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use flate2::{Compression, write::GzEncoder};
use funnelweb_core::{id::handle, limits};
use funnelweb_factor_documents::{
    SqliteDocuments,
    store::{Collection, Documents, Key, Precondition},
};
use funnelweb_factor_events::{
    SqliteEvents,
    store::{CountEffect, Effect, Event, Events, HotEffect, ProfileEffect, Signal},
};
use funnelweb_factor_key_value::{SqliteKeyValues, store::KeyValues};
use funnelweb_factor_live::{SqliteLive, store::Live};
use funnelweb_migration::{Error, Imported, TenantStores, export, format::Kind, header, import};
use funnelweb_tenant_store::{Tenant, TenantStores as TenantFiles};
use serde_json::{Value, json};

const NOW_MS: u64 = 1_700_000_000_000;

struct Stores {
    documents: SqliteDocuments,
    events: SqliteEvents,
    live: SqliteLive,
    key_values: SqliteKeyValues,
}

impl Stores {
    fn open(folder: &Path) -> Self {
        let files = Arc::new(TenantFiles::with(folder, Arc::new(|| NOW_MS), 4).unwrap());
        let documents = SqliteDocuments::new(files.clone()).unwrap();
        let live = SqliteLive::new(files.clone()).unwrap();
        let events = SqliteEvents::new(files.clone(), &documents, &live).unwrap();
        Self { documents, live, events, key_values: SqliteKeyValues::new(files).unwrap() }
    }

    fn of<'a>(&'a self, tenant: &'a Tenant) -> TenantStores<'a> {
        let Self { documents, events, live, key_values } = self;
        TenantStores { tenant, documents, events, live, key_values }
    }

    /// Some of everything.
    async fn fill(&self, t: &Tenant) {
        for collection in Collection::ALL {
            let key = Key::new("feed", if collection == Collection::Scenarios { "feed" } else { "a" });
            let body = json!({"metadata": {"n": 1.0, "category": "x"}, "of": format!("{collection:?}")}).to_string();
            for _ in 0..2 {
                self.documents.replace(t, collection, key.clone(), body.clone(), Precondition::None).await.unwrap();
            }
        }
        let event = |at: u64| Event {
            event_id: format!("e{at}"),
            scenario_id: "feed".to_owned(),
            user_id: format!("u{}", at % 7),
            item_id: format!("i{}", at % 50),
            action_type: "click".to_owned(),
            timestamp_ms: NOW_MS - 1000 * at,
            // Spelled as a sender might.
            body: format!(r#"{{ "z": {at}, "a": "x" }}"#),
            signal: Some(Signal { weight: 1.5, hot_half_life_s: 60, profile_half_life_s: 90, ..Signal::default() }),
        };
        let effects = vec![
            Effect::Hot(HotEffect { weight: 0.3, half_life_s: 3600 }),
            Effect::Count(CountEffect { field: "n".to_owned(), amount: 0.1 }),
            Effect::Profile(ProfileEffect {
                preferences: vec![("category".to_owned(), "x".to_owned(), 0.7)],
                half_life_s: 60,
                counters: vec![("seen".to_owned(), 1.0)],
                recent: true,
            }),
        ];
        for from in [0, 1000] {
            let events: Vec<Event> = (from..from + 700).map(event).collect();
            self.events.append(t, events, vec![effects.clone(); 700]).await.unwrap();
        }
        for (user, ttl_s) in [("ann", 30), ("ann", 1000), ("bob", 2000)] {
            let items = (0..10).map(|at| format!("{user}{at}{ttl_s}")).collect();
            self.live.expose(t, "feed".to_owned(), Some(user.to_owned()), items, ttl_s).await.unwrap();
        }
        for (label, key) in [("default", "k"), ("other", "ключ")] {
            self.key_values.set(t, label, key, (0..=255).collect()).await.unwrap();
        }
    }
}

fn tenant(id: &str) -> Tenant {
    Tenant::new(id).unwrap()
}

struct Place {
    folder: tempfile::TempDir,
    from: Stores,
    acme: Tenant,
}

impl Place {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let from = Stores::open(&folder.path().join("from"));
        let place = Self { from, acme: tenant("acme"), folder };
        place.from.fill(&place.acme).await;
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn export(&self, name: &str) -> PathBuf {
        let file = self.at(name);
        export(self.from.of(&self.acme), &file, NOW_MS, &mut |_| {}).await.unwrap();
        file
    }

    /// The lines of an export.
    async fn lines(&self) -> Vec<String> {
        let file = self.export("lines.ndjson").await;
        fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect()
    }

    /// That the lines are refused with this line's number and words, and nothing is
    /// written.
    async fn refuses(&self, lines: &[String], end: &str, line: usize, words: &str) {
        let file = self.at("changed.ndjson");
        fs::write(&file, format!("{}{end}", lines.join("\n"))).unwrap();
        let to = Stores::open(&self.at("refused"));
        let said = put(&file, &to, &self.acme, false).await.unwrap_err().to_string();
        assert!(said.contains(&format!("line {line}: ")) && said.contains(words), "{said}; not line {line}: {words}");
        assert_eq!(to.documents.version_floor(&self.acme).await.unwrap(), 0);
        assert!(to.documents.get(&self.acme, Collection::Items, Key::new("feed", "a")).await.unwrap().is_none());
    }
}

async fn put(file: &Path, to: &Stores, tenant: &Tenant, resume: bool) -> Result<Imported, Error> {
    import(file, to.of(tenant), resume, &|| NOW_MS, &mut |_| {}).await
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_moves_and_moves_back() {
    let place = Place::new().await;
    let there = place.export("there.ndjson.gz").await;
    assert_eq!(header(&there).unwrap().tenant, "acme");
    let to = Stores::open(&place.at("to"));
    let other = tenant("other");
    let imported = put(&there, &to, &other, false).await.unwrap();
    assert_eq!(imported.different(), []);
    let counts: Vec<u64> = imported.kinds.iter().map(|kind| kind.stores.count).collect();
    // Of exposures those of ann's that soon expire are not looked at.
    assert_eq!(counts, [1, 1, 8, 1, 1, 1, 1400, 50, 2, 50, 2]);
    let back = place.at("back.ndjson");
    let exported = export(to.of(&other), &back, NOW_MS, &mut |_| {}).await.unwrap();
    assert_eq!(
        exported.kinds,
        export(place.from.of(&place.acme), &place.at("x"), NOW_MS, &mut |_| {}).await.unwrap().kinds
    );

    // It is as if it had been there all along.
    let items: Vec<u64> = (0..50).map(|at| handle(&format!("i{at}"))).collect();
    let look = async |stores: &Stores, t: &Tenant| {
        let (feed, n) = (|| "feed".to_owned(), vec!["n".to_owned()]);
        (
            stores.live.hot_top(t, feed(), 20, vec![], NOW_MS + 7_777_777).await.unwrap(),
            stores.live.item_stats(t, feed(), items.clone(), n).await.unwrap(),
            stores.live.exposed(t, feed(), "ann".to_owned()).await.map(|shown| shown.len()).unwrap(),
            stores.documents.get(t, Collection::UserProfiles, Key::new("feed", "u3")).await.unwrap(),
            stores.events.read(t, 690, 20).await.unwrap().iter().map(|one| one.offset).collect::<Vec<_>>(),
            stores.key_values.get(t, "other", "ключ").await.unwrap(),
        )
    };
    assert_eq!(look(&to, &other).await, look(&place.from, &place.acme).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_with_data_is_refused_and_a_failed_import_taken_up() {
    let place = Place::new().await;
    let file = place.export("a.ndjson").await;
    let to = Stores::open(&place.at("to"));
    // As one that was cut off leaves it.
    let half: Vec<_> = place.from.events.read(&place.acme, 0, 500).await.unwrap();
    to.events.restore(&place.acme, half).await.unwrap();
    let refused = put(&file, &to, &place.acme, false).await.unwrap_err();
    assert!(matches!(&refused, Error::NotEmpty { kind: Kind::Interactions, .. }), "{refused}");
    assert!(refused.to_string().contains("tenant acme has interactions already"), "{refused}");
    for _ in 0..2 {
        assert_eq!(put(&file, &to, &place.acme, true).await.unwrap().different(), []);
    }
    // What is there besides is told.
    to.key_values.set(&place.acme, "more", "k", vec![]).await.unwrap();
    assert_eq!(put(&file, &to, &place.acme, true).await.unwrap().different(), [Kind::KeyValues]);
    // Events of its own at the same places are not written over.
    let busy = Stores::open(&place.at("busy"));
    let event = place.from.events.read(&place.acme, 1, 1).await.unwrap().remove(0).event;
    busy.events.append(&place.acme, vec![Event { event_id: "own".to_owned(), ..event }], vec![vec![]]).await.unwrap();
    let error = put(&file, &busy, &place.acme, true).await.unwrap_err().to_string();
    assert!(error.contains("line") && error.contains("offset 1"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_changed_is_refused_with_the_line() {
    let place = Place::new().await;
    let lines = place.lines().await;
    let last = lines.len();
    let find = |part: &str| lines.iter().position(|line| line.contains(part)).unwrap();
    let with = |at: usize, line: String| {
        let mut lines = lines.clone();
        lines[at] = line;
        lines
    };
    let changed = |at: usize, old: &str, new: &str| {
        assert!(lines[at].contains(old), "{}", lines[at]);
        with(at, lines[at].replacen(old, new, 1))
    };
    // One digit.
    let event = find(r#""event_id":"e7""#);
    place.refuses(&changed(event, r#""e7""#, r#""e8""#), "\n", event + 1, "was changed").await;
    place.refuses(&changed(0, r#""last_offset":1400"#, r#""last_offset":9400"#), "\n", 1, "was changed").await;
    place.refuses(&changed(event, "interactions", "interaction"), "\n", event + 1, "unknown kind `interaction`").await;
    place.refuses(&changed(event, "interactions", "items"), "\n", event + 1, "cannot stand behind").await;
    place.refuses(&changed(0, r#""version":1"#, r#""version":2"#), "\n", 1, "version 2").await;
    place.refuses(&with(event, "{".to_owned()), "\n", event + 1, "EOF").await;
    place.refuses(&with(0, r#"{"item_id":"a"}"#.to_owned()), "\n", 1, "not the header of an export").await;
    // A line that is missing, twice, or another's: each is right by itself.
    let without: Vec<String> = [&lines[..event], &lines[event + 1..]].concat();
    place.refuses(&without, "\n", last - 1, "1400 of kind interactions were written, 1399 are there").await;
    let twice = [&lines[..event], &lines[event - 1..]].concat();
    place.refuses(&twice, "\n", last + 1, "1401 are there").await;
    place.refuses(&with(event, lines[event - 1].clone()), "\n", last, "are not those that were written").await;
    // Cut short, between lines or within one.
    place.refuses(&lines[..last - 1], "\n", last, "cut short").await;
    place.refuses(&lines[..event], &lines[event][..9], event, "cut short").await;
    place.refuses(&[], "", 1, "is empty").await;
    place.refuses(&lines, "\n{}\n", last + 1, "nothing may follow").await;
    let long = "x".repeat(limits::EXPORT_LINE_BYTES + 1);
    place.refuses(&with(event, long), "\n", event + 1, &limits::EXPORT_LINE_BYTES.to_string()).await;
    // The items of a list that stand apart would be two lists.
    let hot = find(r#""kind":"hot_items""#);
    let mut apart = lines.clone();
    let one: Value = serde_json::from_str(&lines[hot]).unwrap();
    let record = one["record"].to_string().replacen("3600", "60", 1);
    let sum = format!("{:016x}", xxhash_rust::xxh3::xxh3_64(record.as_bytes()));
    apart[hot] = format!(r#"{{"kind":"hot_items","sum":"{sum}","record":{record}}}"#);
    place.refuses(&apart, "\n", hot + 2, "must stand together").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gzip_file_that_was_cut_off_is_refused() {
    let place = Place::new().await;
    let file = place.export("a.ndjson.gz").await;
    let whole = fs::read(&file).unwrap();
    let to = Stores::open(&place.at("to"));
    for length in [whole.len() / 2, whole.len() - 4] {
        fs::write(&file, &whole[..length]).unwrap();
        let said = put(&file, &to, &place.acme, false).await.unwrap_err().to_string();
        assert!(said.contains("cut short"), "{said}");
    }
    // Packed by somebody else, and by another name.
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all((place.lines().await.join("\n") + "\n").as_bytes()).unwrap();
    let other = place.at("other");
    fs::write(&other, packed.finish().unwrap()).unwrap();
    assert_eq!(put(&other, &to, &place.acme, false).await.unwrap().different(), []);
}

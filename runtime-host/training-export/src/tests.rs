//! Whole exports, from embedded stores to the file.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use funnelweb_core::scenario::{Behaviors, FeatureKind};
use funnelweb_exposure_log::{Cell, Feature, Shown, Slate, SqliteExposureLog, store::ExposureLog as _};
use funnelweb_factor_documents::SqliteDocuments;
use funnelweb_factor_events::{
    SqliteEvents,
    store::{Event, Events as _},
};
use funnelweb_factor_live::SqliteLive;
use funnelweb_tenant_store::{Tenant, TenantStores};
use parquet::{
    file::reader::{FileReader as _, SerializedFileReader},
    record::{Field, Row as Read},
};
use tempfile::TempDir;

use crate::{Clicks, Error, Options, Report, Shares, Sources, export, limits};

const NOW_MS: u64 = 1_700_000_000_000;
const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
/// When everything begins: its windows have ended by now.
const THEN_MS: u64 = NOW_MS - 100 * HOUR_MS;

/// A slate with a feature of each shape.
pub(crate) fn slate(request_id: &str, user_id: &str, shown_at_ms: u64, items: &[&str]) -> Slate {
    let feature = |name: &str, kind| Feature { name: name.to_owned(), kind };
    let cells = |at: u16| vec![Cell::Number(f32::from(at) + 0.5), Cell::Word(7), Cell::Words(vec![1, u32::MAX])];
    Slate {
        request_id: request_id.to_owned(),
        user_id: user_id.to_owned(),
        scenario_id: "feed".to_owned(),
        shown_at_ms,
        user_features: vec![feature("user:age", FeatureKind::Numeric)],
        user: vec![Cell::Number(30.0)],
        item_features: vec![
            feature("item:price", FeatureKind::Numeric),
            feature("item:category", FeatureKind::Categorical),
            feature("item:tags", FeatureKind::MultiCategorical),
        ],
        items: items
            .iter()
            .zip(0..)
            .map(|(item, at)| Shown { item_id: (*item).to_owned(), cells: cells(at) })
            .collect(),
        groups: Vec::new(),
        elapsed_us: 0,
        cost_us: 0,
        drafted: Vec::new(),
    }
}

/// Embedded stores, and a folder to export to.
struct World {
    folder: TempDir,
    tenant: Tenant,
    exposures: SqliteExposureLog,
    events: SqliteEvents,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = Arc::new(TenantStores::with(folder.path(), Arc::new(|| NOW_MS), 4).unwrap());
        let documents = SqliteDocuments::new(Arc::clone(&files)).unwrap();
        let live = SqliteLive::new(Arc::clone(&files)).unwrap();
        let events = SqliteEvents::new(Arc::clone(&files), &documents, &live).unwrap();
        let exposures = SqliteExposureLog::new(files).unwrap();
        Self { folder, tenant: Tenant::new("t").unwrap(), exposures, events }
    }

    async fn shown(&self, slate: Slate) {
        self.exposures.append(&self.tenant, slate).await.unwrap();
    }

    async fn done(&self, user_id: &str, item_id: &str, action_type: &str, at_ms: u64) {
        self.watched(user_id, item_id, action_type, at_ms, "{}").await;
    }

    async fn watched(&self, user_id: &str, item_id: &str, action_type: &str, timestamp_ms: u64, extra: &str) {
        let event = Event {
            event_id: format!("{user_id}-{item_id}-{action_type}-{timestamp_ms}"),
            scenario_id: "feed".to_owned(),
            user_id: user_id.to_owned(),
            item_id: item_id.to_owned(),
            action_type: action_type.to_owned(),
            timestamp_ms,
            body: format!(r#"{{"context":{{}},"extra":{extra}}}"#),
            signal: None,
        };
        self.events.append(&self.tenant, vec![event], vec![Vec::new()]).await.unwrap();
    }

    /// Something that says that behaviours are known until now.
    async fn until_now(&self) {
        self.done("nobody", "nothing", "view", NOW_MS).await;
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("log.parquet")
    }

    async fn try_export(&self, options: &Options) -> Result<Report, Error> {
        self.exposures.settle(&self.tenant).await.unwrap();
        let from = Sources { tenant: &self.tenant, exposures: &self.exposures, events: &self.events };
        export(from, options, &self.file(), NOW_MS, &mut |_| {}).await
    }

    /// The report, and the rows as they stand in the file.
    async fn export(&self, change: impl FnOnce(&mut Options)) -> (Report, Vec<Row>) {
        let mut options = Options { force: true, ..options() };
        change(&mut options);
        let report = self.try_export(&options).await.unwrap();
        assert_eq!(report.items, report.rows + report.left_out.total());
        (report, rows(&self.file()))
    }
}

fn options() -> Options {
    Options::new("feed", Behaviors::default())
}

/// What labels are about: request, item, part, click, conversion, seconds.
type Row = (String, String, String, f32, f32, f32);

fn rows(file: &Path) -> Vec<Row> {
    let text = |fields: &BTreeMap<String, Field>, name: &str| match &fields[name] {
        Field::Str(text) => text.clone(),
        other => panic!("{name}: {other}"),
    };
    let number = |fields: &BTreeMap<String, Field>, name: &str| match fields[name] {
        Field::Float(number) => number,
        ref other => panic!("{name}: {other}"),
    };
    let row = |read: Read| {
        let fields: BTreeMap<String, Field> = read.into_columns().into_iter().collect();
        let (request, item, part) = (text(&fields, "request_id"), text(&fields, "item_id"), text(&fields, "split"));
        let labels = ["label_click", "label_conversion", "label_watch_time"].map(|name| number(&fields, name));
        (request, item, part, labels[0], labels[1], labels[2])
    };
    let reader = SerializedFileReader::try_from(file).unwrap();
    reader.get_row_iter(None).unwrap().map(|read| row(read.unwrap())).collect()
}

/// Requests, items and clicks.
fn clicks(rows: &[Row]) -> Vec<(&str, &str, f32)> {
    rows.iter().map(|(request, item, _, click, ..)| (request.as_str(), item.as_str(), *click)).collect()
}

#[tokio::test]
async fn the_file_has_the_columns_of_the_format() {
    let world = World::new();
    let mut other = slate("r2", "bob", THEN_MS + 1, &["cup"]);
    other.items[0].cells = vec![Cell::Number(f32::INFINITY), Cell::Missing, Cell::Words(Vec::new())];
    other.item_features[0].name = "item:weight".to_owned();
    other.user = vec![Cell::Missing];
    world.shown(slate("r1", "ann", THEN_MS, &["tea", "pot"])).await;
    world.shown(other).await;
    world.watched("ann", "pot", "watch", THEN_MS + 5, r#"{"watch_duration":12.5}"#).await;
    world.until_now().await;
    let (report, _) = world.export(|options| options.shares = Shares { valid: 0.0, test: 0.5 }).await;
    assert_eq!((report.features, report.rows, report.old_kind_cells), (5, 3, 0));

    let reader = SerializedFileReader::try_from(world.file().as_path()).unwrap();
    let mut schema = Vec::new();
    parquet::schema::printer::print_schema(&mut schema, reader.metadata().file_metadata().schema());
    let expected = "message log {
  REQUIRED BYTE_ARRAY request_id (STRING);
  REQUIRED BYTE_ARRAY user_id (STRING);
  REQUIRED BYTE_ARRAY item_id (STRING);
  REQUIRED BYTE_ARRAY scenario_id (STRING);
  REQUIRED INT32 position;
  REQUIRED INT64 shown_at_ms;
  REQUIRED BYTE_ARRAY split (STRING);
  REQUIRED FLOAT label_click;
  REQUIRED FLOAT label_conversion;
  REQUIRED FLOAT label_watch_time;
  OPTIONAL BYTE_ARRAY item:category (STRING);
  OPTIONAL FLOAT item:price;
  OPTIONAL group item:tags (LIST) {
    REPEATED group list {
      REQUIRED BYTE_ARRAY element (STRING);
    }
  }
  OPTIONAL FLOAT item:weight;
  OPTIONAL FLOAT user:age;
}
";
    assert_eq!(String::from_utf8(schema).unwrap(), expected);
    let metadata = reader.metadata().file_metadata().key_value_metadata().unwrap();
    let about = metadata.iter().find(|pair| pair.key == "funnelweb.scenario").unwrap().value.as_deref().unwrap();
    assert_eq!(
        about,
        r#"{"scenario_id":"feed","exported_at_ms":1700000000000,"window_ms":86400000,"features":{"item:category":"categorical","item:price":"numeric","item:tags":"multi_categorical","item:weight":"numeric","user:age":"numeric"}}"#
    );
    let rows: Vec<String> = reader.get_row_iter(None).unwrap().map(|row| row.unwrap().to_string()).collect();
    let at = |ms| format!("scenario_id: \"feed\", position: {ms}");
    assert_eq!(
        rows,
        [
            format!(
                "{{request_id: \"r1\", user_id: \"ann\", item_id: \"tea\", {}, shown_at_ms: {THEN_MS}, \
                 split: \"train\", label_click: 0E0, label_conversion: 0E0, label_watch_time: 0E0, \
                 item:category: \"#00000007\", item:price: 0.5, item:tags: [\"#00000001\", \"#ffffffff\"], \
                 item:weight: null, user:age: 30.0}}",
                at(0)
            ),
            format!(
                "{{request_id: \"r1\", user_id: \"ann\", item_id: \"pot\", {}, shown_at_ms: {THEN_MS}, \
                 split: \"train\", label_click: 0E0, label_conversion: 0E0, label_watch_time: 0E0, \
                 item:category: \"#00000007\", item:price: 1.5, item:tags: [\"#00000001\", \"#ffffffff\"], \
                 item:weight: null, user:age: 30.0}}",
                at(1)
            ),
            format!(
                "{{request_id: \"r2\", user_id: \"bob\", item_id: \"cup\", {}, shown_at_ms: {}, \
                 split: \"test\", label_click: 0E0, label_conversion: 0E0, label_watch_time: 0E0, \
                 item:category: null, item:price: null, item:tags: [], item:weight: null, user:age: null}}",
                at(0),
                THEN_MS + 1
            ),
        ]
    );
}

#[tokio::test]
async fn labels_are_what_users_did() {
    let world = World::new();
    world.shown(slate("r1", "ann", THEN_MS, &["tea", "cup", "pot"])).await;
    world.shown(slate("r2", "ann", THEN_MS + HOUR_MS, &["pot", "tea"])).await;
    for (item, action) in [("tea", "impression"), ("cup", "impression"), ("cup", "click"), ("cup", "purchase")] {
        world.done("ann", item, action, THEN_MS + 10).await;
    }
    world.watched("ann", "pot", "watch", THEN_MS + 10, r#"{"watch_duration":30}"#).await;
    world.watched("ann", "pot", "watch", THEN_MS + 20, r#"{"watch_duration":12.5}"#).await;
    world.watched("ann", "pot", "watch", THEN_MS + HOUR_MS, r#"{"watch_duration":4}"#).await;
    world.done("ann", "tea", "dislike", THEN_MS + HOUR_MS + 1).await;
    // Before, after, someone else's.
    world.done("ann", "tea", "click", THEN_MS - 1).await;
    world.done("ann", "cup", "share", THEN_MS + 24 * HOUR_MS).await;
    world.done("bob", "tea", "click", THEN_MS + 1).await;
    world.until_now().await;
    let train = |options: &mut Options| options.shares = Shares { valid: 0.0, test: 0.0 };
    let (report, rows) = world.export(train).await;
    let row = |request: &str, item: &str, click, conversion, seconds| {
        (request.to_owned(), item.to_owned(), "train".to_owned(), click, conversion, seconds)
    };
    let expected = [
        row("r1", "tea", 0.0, 0.0, 0.0),
        row("r1", "cup", 1.0, 1.0, 0.0),
        row("r1", "pot", 1.0, 0.0, 42.5),
        row("r2", "pot", 1.0, 0.0, 4.0),
        row("r2", "tea", 0.0, 0.0, 0.0),
    ];
    assert_eq!(rows, expected);
    assert_eq!((report.train.requests, report.train.rows), (2, 5));
    assert_eq!((report.train.clicks, report.train.conversions, report.train.watched), (3, 1, 2));
    assert_eq!((report.behaviors.read, report.behaviors.attributed, report.behaviors.cut), (12, 8, 0));

    let (_, rows) = world
        .export(|options| {
            train(options);
            options.actions.clicks = Clicks::Named(BTreeSet::from(["dislike".to_owned()]));
            options.actions.conversions = BTreeSet::from(["watch".to_owned()]);
        })
        .await;
    let labels: Vec<_> = rows.iter().map(|row| (row.3, row.4)).collect();
    assert_eq!(labels, [(0.0, 0.0), (0.0, 0.0), (0.0, 1.0), (0.0, 1.0), (1.0, 0.0)]);
}

#[tokio::test]
async fn a_part_knows_nothing_of_the_next_one_s_time() {
    let world = World::new();
    for (request, minute) in [("r1", 0), ("r2", 10), ("r3", 20), ("r4", 30)] {
        world.shown(slate(request, "ann", THEN_MS + minute * MINUTE_MS, &[request, "tea"])).await;
    }
    // Each in the time of the part or in the next one's.
    for (item, minute) in [("r1", 19), ("r2", 20), ("r3", 29), ("r3", 31), ("r4", 1000), ("tea", 20)] {
        world.done("ann", item, "click", THEN_MS + minute * MINUTE_MS).await;
    }
    world.until_now().await;
    let (report, rows) = world.export(|options| options.shares = Shares { valid: 0.25, test: 0.25 }).await;
    let parts: Vec<(&str, f32)> = rows.iter().map(|row| (row.2.as_str(), row.3)).collect();
    let expected = [
        ("train", 1.0),
        ("train", 0.0),
        ("train", 0.0),
        ("train", 0.0),
        ("valid", 1.0),
        ("valid", 1.0),
        ("test", 1.0),
        ("test", 0.0),
    ];
    assert_eq!(parts, expected);
    assert_eq!(report.behaviors.cut, 2);
}

#[tokio::test]
async fn what_was_done_with_one_slate_is_no_label_of_another() {
    let world = World::new();
    let named = async |item: &str, at_ms: u64, request_id: &str| {
        world.watched("ann", item, "click", at_ms, &format!(r#"{{"request_id":{request_id}}}"#)).await;
    };
    world.shown(slate("r1", "ann", THEN_MS, &["tea", "cup"])).await;
    world.shown(slate("r2", "ann", THEN_MS + MINUTE_MS, &["tea", "pot"])).await;
    // An id that was used before: what is done with its slate is of no other.
    world.shown(slate("r1", "ann", THEN_MS + 2 * MINUTE_MS, &["cup"])).await;
    world.done("ann", "cup", "click", THEN_MS + 3 * MINUTE_MS).await;
    // Of a slate that is not logged, and of the one before the last.
    named("pot", THEN_MS + 4 * MINUTE_MS, r#""r9""#).await;
    named("tea", THEN_MS + 4 * MINUTE_MS, r#""r1""#).await;
    world.until_now().await;
    let shares = Shares { valid: 0.0, test: 0.0 };
    let (report, rows) = world.export(|options| options.shares = shares).await;
    assert_eq!(clicks(&rows), [("r1", "tea", 1.0), ("r1", "cup", 0.0), ("r2", "tea", 0.0), ("r2", "pot", 0.0)]);
    assert_eq!((report.left_out.repeated, report.behaviors.attributed), (1, 2));
    // What is no id names nothing.
    named("pot", THEN_MS + 5 * MINUTE_MS, "7").await;
    let (_, rows) = world.export(|options| options.shares = shares).await;
    assert_eq!(clicks(&rows)[3], ("r2", "pot", 1.0));
}

#[tokio::test]
async fn of_slates_without_features_nothing_is_learned() {
    let world = World::new();
    let at = THEN_MS;
    world.shown(slate("first", "ann", at, &["a"])).await;
    let bare = slate("second", "ann", at + 1000, &["a"]);
    let items = vec![Shown { item_id: "a".to_owned(), cells: Vec::new() }];
    let groups = vec!["exp:control".to_owned()];
    world.shown(Slate { user_features: vec![], user: vec![], item_features: vec![], items, groups, ..bare }).await;
    // It is of the second, which is not in the file.
    world.done("ann", "a", "click", at + 2000).await;
    world.until_now().await;
    let (report, rows) = world.export(|_| {}).await;
    assert_eq!((report.slates, rows.len(), rows[0].3), (1, 1, 0.0), "{rows:?}");
}

#[tokio::test]
async fn what_is_left_out_is_told() {
    let world = World::new();
    world.shown(slate("r0", "ann", THEN_MS - 1, &["tea"])).await;
    world.shown(slate("r1", "ann", THEN_MS, &["tea", "cup"])).await;
    world.shown(slate("r2", "", THEN_MS, &["tea", "cup", "pot"])).await;
    world.shown(slate("r1", "ann", THEN_MS + 5, &["pot"])).await;
    world.shown(slate("r3", "ann", NOW_MS - 23 * HOUR_MS, &["tea", "cup", "pot", "can"])).await;
    world.shown(slate("r4", "ann", NOW_MS - HOUR_MS, &["cup"])).await;
    world.done("ann", "tea", "click", NOW_MS - 23 * HOUR_MS).await;
    // Shown again by what is not exported.
    world.done("ann", "cup", "click", NOW_MS - HOUR_MS + 1).await;
    world.until_now().await;
    let within = |options: &mut Options| {
        (options.from_ms, options.until_ms) = (Some(THEN_MS), Some(NOW_MS - HOUR_MS));
        options.shares = Shares { valid: 0.0, test: 0.0 };
    };
    let (report, rows) = world.export(within).await;
    assert_eq!(clicks(&rows), [("r1", "tea", 0.0), ("r1", "cup", 0.0)]);
    let left_out = &report.left_out;
    assert_eq!((report.slates, report.items), (6, 12));
    assert_eq!((left_out.sessions, left_out.outside, left_out.repeated, left_out.unfinished), (3, 2, 1, 4));

    let (report, rows) = world
        .export(|options| {
            within(options);
            options.unfinished = true;
        })
        .await;
    assert_eq!(report.left_out.unfinished, 0);
    assert_eq!(rows.iter().map(|row| row.3).collect::<Vec<_>>(), [0.0, 0.0, 1.0, 0.0, 0.0, 0.0]);
}

#[tokio::test]
async fn behaviours_that_did_not_come_yet_are_waited_for() {
    let world = World::new();
    world.shown(slate("r1", "ann", THEN_MS, &["tea"])).await;
    world.shown(slate("r2", "ann", THEN_MS + 1, &["tea"])).await;
    // They come in batches, and the last was long ago.
    world.done("ann", "tea", "click", THEN_MS + 24 * HOUR_MS).await;
    let (report, rows) = world.export(|options| options.shares = Shares { valid: 0.0, test: 0.0 }).await;
    assert_eq!((rows.len(), report.left_out.unfinished), (1, 1));
}

#[tokio::test]
async fn what_was_seen_ends_with_the_last_report() {
    let world = World::new();
    world.shown(slate("r1", "ann", THEN_MS, &["a", "b", "c", "d"])).await;
    world.shown(slate("r2", "bob", THEN_MS + 1, &["a", "b"])).await;
    world.done("ann", "a", "impression", THEN_MS + 1).await;
    world.done("ann", "c", "impression", THEN_MS + 2).await;
    world.done("ann", "a", "click", THEN_MS + 3).await;
    world.until_now().await;
    let (report, rows) = world
        .export(|options| {
            options.only_seen = true;
            options.shares = Shares { valid: 0.0, test: 0.0 };
        })
        .await;
    assert_eq!(clicks(&rows), [("r1", "a", 1.0), ("r1", "b", 0.0), ("r1", "c", 0.0)]);
    assert_eq!((report.left_out.unseen, report.train.requests), (3, 1));
}

#[tokio::test]
async fn a_feature_has_its_newest_kind() {
    let world = World::new();
    let mut old = slate("r1", "ann", THEN_MS, &["tea", "cup"]);
    old.item_features[0].kind = FeatureKind::Categorical;
    for item in &mut old.items {
        item.cells[0] = Cell::Word(3);
    }
    // In the order in which they were written down, which need not be that of time.
    world.shown(slate("r2", "ann", THEN_MS + 1, &["tea"])).await;
    world.shown(old).await;
    world.until_now().await;
    let (report, _) = world.export(|options| options.unfinished = true).await;
    assert_eq!(report.old_kind_cells, 2);
    let reader = SerializedFileReader::try_from(world.file().as_path()).unwrap();
    let prices: Vec<String> = reader
        .get_row_iter(None)
        .unwrap()
        .map(|row| row.unwrap().get_column_iter().find(|(name, _)| *name == "item:price").unwrap().1.to_string())
        .collect();
    assert_eq!(prices, ["0.5", "null", "null"]);
}

#[tokio::test]
async fn no_request_is_in_two_parts() {
    let world = World::new();
    // More than a page of slates, which were not written down in the order of time.
    let count = u64::from(limits::PAGE_SLATES) * 2 + 10;
    for number in 0..count {
        let at_ms = THEN_MS + (number * 7919 % count) * 1000;
        world.shown(slate(&format!("r{number}"), &format!("u{}", number % 3), at_ms, &["tea", "cup"])).await;
    }
    world.until_now().await;
    let (report, rows) = world.export(|_| {}).await;
    let mut part_of = BTreeMap::new();
    for (request, _, part, ..) in &rows {
        assert_eq!(part_of.insert(request, part).unwrap_or(part), part, "{request}");
    }
    assert_eq!(part_of.len() as u64, count);
    assert_eq!([&report.train, &report.valid, &report.test].map(|part| part.requests), [147, 21, 42]);
}

#[tokio::test]
async fn rows_are_written_in_groups() {
    let world = World::new();
    let items: Vec<String> = (0..500).map(|number| format!("i{number}")).collect();
    let items: Vec<&str> = items.iter().map(String::as_str).collect();
    let count = limits::ROW_GROUP_ROWS / items.len() + 1;
    for number in 0..count {
        world.shown(slate(&format!("r{number}"), "ann", THEN_MS + number as u64, &items)).await;
    }
    world.until_now().await;
    let (report, _) = world.export(|_| {}).await;
    assert_eq!(report.rows, (count * items.len()) as u64);
    let reader = SerializedFileReader::try_from(world.file().as_path()).unwrap();
    let groups: Vec<i64> = reader.metadata().row_groups().iter().map(|group| group.num_rows()).collect();
    let full = limits::ROW_GROUP_ROWS as i64;
    assert_eq!(groups, [full, report.rows as i64 - full]);
}

#[tokio::test]
async fn many_words_are_a_group_too() {
    let world = World::new();
    for number in 0..16 {
        let mut slate = slate(&format!("r{number}"), "ann", THEN_MS + number, &["tea"]);
        slate.items[0].cells[2] = Cell::Words(vec![5; limits::ROW_GROUP_VALUES / 15]);
        world.shown(slate).await;
    }
    world.until_now().await;
    let (report, rows) = world.export(|_| {}).await;
    assert_eq!((report.rows, rows.len()), (16, 16));
    let reader = SerializedFileReader::try_from(world.file().as_path()).unwrap();
    let groups: Vec<i64> = reader.metadata().row_groups().iter().map(|group| group.num_rows()).collect();
    assert_eq!(groups, [15, 1]);
}

#[tokio::test]
async fn what_cannot_be_exported_is_told() {
    let world = World::new();
    let error = world.try_export(&options()).await.unwrap_err().to_string();
    assert!(error.starts_with("no slate of the scenario `feed` is logged"), "{error}");
    world.shown(slate("r1", "", THEN_MS, &["tea"])).await;
    world.shown(slate("r2", "ann", THEN_MS, &["tea", "cup"])).await;
    let error = world.try_export(&options()).await.unwrap_err().to_string();
    let expected = "of 3 items that were shown none is left: 1 shown to sessions without a user, \
                    2 whose window has not ended (--unfinished keeps them, --window-hours shortens it)";
    assert_eq!(error, expected);
    let error = world.try_export(&Options { window_ms: 0, ..options() }).await.unwrap_err().to_string();
    assert!(error.starts_with("window: "), "{error}");
    let left: Vec<_> = world.folder.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["tenants"]);
}

#[tokio::test]
async fn a_file_that_exists_stays_unless_it_is_forced() {
    let world = World::new();
    world.shown(slate("r1", "ann", THEN_MS, &["tea"])).await;
    world.until_now().await;
    std::fs::write(world.file(), "mine").unwrap();
    let error = world.try_export(&options()).await.unwrap_err();
    assert!(matches!(error, Error::Exists(_)), "{error}");
    assert_eq!(std::fs::read(world.file()).unwrap(), b"mine");
    world.try_export(&Options { force: true, ..options() }).await.unwrap();
    assert_eq!(rows(&world.file()).len(), 1);
}

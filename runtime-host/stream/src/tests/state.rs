//! What is kept, shown and deleted, and who makes a step.

use super::*;

#[tokio::test]
async fn messages_are_kept_for_so_long() {
    let retention = limits::TOPIC_RETENTION.as_millis() as u64;
    let now = Arc::new(AtomicU64::new(NOW + retention));
    let clock = now.clone();
    let world = World::at(tempfile::tempdir().unwrap(), Arc::new(move || clock.load(Ordering::Relaxed)));
    let operator = Counting::new(SECOND, SECOND, 0);
    let out_of_order = limits::STREAM_OUT_OF_ORDER.as_millis() as u64;
    world.append(&[(NOW, "a"), (NOW + SECOND + out_of_order, "a")]).await;
    world.run(&operator, NOW + 10 * SECOND + out_of_order).await;
    assert_eq!(world.said().await.len(), 1);
    let first = ("feed/a".to_owned(), NOW + SECOND);
    for (later, is_kept) in [(0, true), (1, false)] {
        now.store(NOW + 2 * retention + later, Ordering::Relaxed);
        let at = NOW + (2 + later) * (SECOND + out_of_order);
        world.append(&[(at, "a")]).await;
        world.run(&operator, at).await;
        assert_eq!(world.said().await.contains_key(&first), is_kept);
    }
}

#[tokio::test]
async fn what_is_deleted_during_a_step_stays_deleted() {
    /// Waits before it adds.
    struct Held(Counting, Semaphore, Semaphore);
    #[async_trait]
    impl Operator for Held {
        fn name(&self) -> &str {
            self.0.name()
        }
        fn declaration(&self) -> &Declaration {
            self.0.declaration()
        }
        async fn aggregate(&self, batches: &[Batch]) -> Result<Vec<Vec<u8>>, Failure> {
            self.1.add_permits(1);
            let _go = self.2.acquire().await.unwrap();
            self.0.aggregate(batches).await
        }
        async fn merge(&self, panes: &[Vec<Vec<u8>>]) -> Result<Vec<Vec<u8>>, Failure> {
            self.0.merge(panes).await
        }
        async fn changes(&self, panes: &[Aggregated]) -> Result<Vec<Vec<Change>>, Failure> {
            self.0.changes(panes).await
        }
        async fn summary(&self, windows: &[Aggregated]) -> Result<Vec<Vec<Output>>, Failure> {
            self.0.summary(windows).await
        }
    }
    let world = World::new();
    world.append(&[(NOW, "a")]).await;
    let held = Held(Counting::new(SECOND, SECOND, 0), Semaphore::new(0), Semaphore::new(0));
    let purge = async {
        let _in = held.1.acquire().await.unwrap();
        world.files.purge(&world.tenant, Purge::Scenario("feed".to_owned())).await.unwrap();
        held.2.add_permits(1);
    };
    let (step, ()) = tokio::join!(world.engine.step(&world.tenant, &held, NOW), purge);
    assert_eq!(step.unwrap(), Outcome::Advanced);
    world.run(&held.0, NOW).await;
    assert!(world.counted("seen_total").await.is_empty());
    assert_eq!(world.store.first_pane(&world.place(), 0).await.unwrap(), None);
}

#[tokio::test]
async fn one_of_two_engines_makes_a_step() {
    let (world, operator) = (World::new(), Counting::new(SECOND, SECOND, 0));
    world.append(&vec![(NOW, "a"); 3000]).await;
    let (one, other) = tokio::join!(world.run(&operator, NOW), world.run(&operator, NOW));
    assert!(one && other);
    assert_eq!(world.counted("seen_total").await["a"], 3000.0);
}

#[tokio::test]
async fn what_is_written_when_nobody_waits_any_more_is_counted() {
    let world = World::new();
    let grown = Arc::new(Grown::default());
    let watched: Arc<dyn Events> = Arc::new(Watched::new(world.log.clone(), world.store.clone(), grown.clone()));
    let operator: Arc<dyn Operator> = Arc::new(Counting::new(SECOND, SECOND, 0));
    let streams = Arc::new(Streams::new(watched.clone(), world.store.clone(), vec![operator], grown));
    let following = tokio::spawn(streams.follow());
    // After the look at what grew before.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let event = logged(0, NOW, "a");
    let append = watched.append(&world.tenant, vec![event], vec![vec![]]);
    // Begun, and left.
    assert!(tokio::time::timeout(Duration::ZERO, append).await.is_err());
    let counted = async {
        while world.counted("seen_total").await.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), counted).await.unwrap();
    following.abort();
}

#[tokio::test]
async fn what_is_old_goes_once_operators_have_it() {
    let (world, operator) = (World::new(), Arc::new(Counting::new(SECOND, SECOND, 0)));
    let grown = Arc::new(Grown::default());
    let watched: Arc<dyn Events> = Arc::new(Watched::new(world.log.clone(), world.store.clone(), grown.clone()));
    world.append(&[(NOW, "a"); 10]).await;
    let expire = async || watched.expire(&world.tenant, u64::MAX, u64::MAX).await.unwrap();
    // Nobody knows yet who follows.
    assert_eq!(expire().await, 0);
    let operators: Vec<Arc<dyn Operator>> = vec![operator.clone()];
    let streams = Arc::new(Streams::new(watched.clone(), world.store.clone(), operators, grown));
    let following = tokio::spawn(streams.follow());
    tokio::time::sleep(Duration::from_millis(100)).await;
    // The operator was not told that the log has grown.
    assert_eq!(expire().await, 0);
    world.run(&operator, NOW).await;
    assert_eq!(expire().await, 10);
    assert_eq!(world.counted("seen_total").await["a"], 10.0);
    following.abort();
}

#[tokio::test]
async fn a_file_that_cannot_be_read_hides_no_other_s_counters() {
    let (world, operator) = (World::new(), Counting::new(SECOND, SECOND, 0));
    world.append(&[(NOW, "a")]).await;
    world.run(&operator, NOW).await;
    std::fs::write(world.folder.path().join("tenants/bad.db"), "this is no database, however long it is").unwrap();
    assert_eq!(world.store.tenants().await.unwrap().len(), 2);
    assert_eq!(world.counted("seen_total").await["a"], 1.0);
    // What is deleted is not shown any more.
    world.files.purge(&world.tenant, Purge::User("nobody".to_owned())).await.unwrap();
    assert_eq!(world.counted("seen_total").await["a"], 1.0);
    let file = world.files.open(&world.tenant).await.unwrap();
    let label = r#"UPDATE counters SET labels = '[["item","a"],["scenario","feed"]]'"#;
    file.write(Durability::Relaxed, move |write| write.execute_batch(label).map_err(Error::from)).await.unwrap();
    world.files.purge(&world.tenant, Purge::Scenario("feed".to_owned())).await.unwrap();
    assert!(world.counted("seen_total").await.is_empty());
}

#[tokio::test]
async fn own_operators_have_counters_beside_the_others() {
    let world = World::new();
    let series = |name: &str, at: usize| {
        (Series { name: name.to_owned(), labels: vec![("item".to_owned(), format!("i{at}"))] }, 1.0)
    };
    let commit = async |counts: Vec<(Series, f64)>| {
        let before = world.store.progress(&world.place()).await.unwrap();
        let step = Step { progress: before.clone(), counts, ..Step::default() };
        assert!(world.store.commit(&world.place(), before, step).await.unwrap());
    };
    commit((0..=limits::METRIC_OWN_SERIES).map(|at| series("own_seen_total", at)).collect()).await;
    assert_eq!(world.counted("own_seen_total").await.len(), limits::METRIC_OWN_SERIES);
    assert_eq!(world.counted("metric_series_refused_total").await[""], 1.0);
    commit(vec![series("seen_total", 0), series("own_seen_total", 0)]).await;
    assert_eq!((world.counted("seen_total").await["i0"], world.counted("own_seen_total").await["i0"]), (1.0, 2.0));
}

#[tokio::test]
async fn a_tenant_has_so_many_counters() {
    let (world, operator) = (World::new(), Counting::new(SECOND, SECOND, 0));
    let items: Vec<String> = (0..limits::METRIC_SERIES).map(|at| format!("i{at}")).collect();
    let events: Vec<(u64, &str)> = items.iter().map(|item| (NOW, item.as_str())).collect();
    world.append(&events).await;
    world.run(&operator, NOW).await;
    let seen = world.counted("seen_total").await.len() + world.counted("seconds_total").await.len();
    assert_eq!(seen, limits::METRIC_SERIES);
    let refused = world.counted("metric_series_refused_total").await;
    assert_eq!(refused.values().sum::<f64>(), limits::METRIC_SERIES as f64);
    // Those that are there go on.
    world.append(&[(NOW, "i0")]).await;
    world.run(&operator, NOW).await;
    assert_eq!(world.counted("seen_total").await["i0"], 2.0);
}

#[tokio::test]
async fn a_deleted_user_or_scenario_leaves_no_state() {
    let world = World::new();
    let operator = Counting {
        declaration: Declaration {
            key: vec![Field::Scenario, Field::User],
            ..Counting::new(SECOND, SECOND, 0).declaration
        },
        poison: |event| event.item_id == "p",
        ..Counting::new(SECOND, SECOND, 0)
    };
    for purge in [Purge::User("ann".to_owned()), Purge::Scenario("feed".to_owned())] {
        world.append(&[(NOW, "a"), (NOW, "p")]).await;
        world.run(&operator, NOW).await;
        assert!(world.store.first_pane(&world.place(), 0).await.unwrap().is_some());
        world.files.purge(&world.tenant, purge).await.unwrap();
        assert_eq!(world.store.first_pane(&world.place(), 0).await.unwrap(), None);
        assert!(world.store.dead_letters(&world.tenant, 10).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn so_many_messages_of_a_topic_are_kept() {
    let (world, operator) = (World::new(), Counting::new(SECOND, SECOND, 0));
    let file = world.files.open(&world.tenant).await.unwrap();
    let topic = "recommendation-metrics";
    let rows = format!(
        "INSERT INTO topic_ends VALUES ('{topic}', {last}); \
         INSERT INTO topics VALUES ('{topic}', 1, 'old', '{{\"end\":1,\"count\":1}}', {at}), \
                                   ('{topic}', 2, 'kept', '{{\"end\":2,\"count\":2}}', {at});",
        last = limits::TOPIC_MESSAGES,
        at = NOW + 1_000_000 * SECOND
    );
    file.write(Durability::Relaxed, move |write| write.execute_batch(&rows).map_err(Error::from)).await.unwrap();
    world.append(&[(NOW, "a")]).await;
    world.run(&operator, NOW + 100 * SECOND).await;
    let keys: Vec<String> = world.said().await.into_keys().map(|(key, _)| key).collect();
    assert_eq!(keys, ["feed/a", "kept"]);
}

#[tokio::test]
async fn the_embedded_store_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let files = Arc::new(TenantStores::with(folder.path(), Arc::new(|| NOW), limits::OPEN_TENANTS).unwrap());
    let documents = SqliteDocuments::new(files.clone()).unwrap();
    let live = SqliteLive::new(files.clone()).unwrap();
    let events = SqliteEvents::new(files.clone(), &documents, &live).unwrap();
    let store = SqliteStreams::new(files, &events).unwrap();
    let suite =
        crate::conformance::Suite { store: &store, documents: &documents, live: &live, now_ms: NOW, prefix: "" };
    suite.run().await;
}

#[tokio::test]
async fn messages_about_what_is_deleted_are_deleted() {
    let world = World::new();
    let file = world.files.open(&world.tenant).await.unwrap();
    let rows = "INSERT INTO topics VALUES ('user-profile-updates', 1, 'feed/ann', '{}', 0), \
                ('user-profile-updates', 2, 'feed/joann', '{}', 0), ('item-stats-updates', 1, 'feed/ann', '{}', 0), \
                ('recommendation-metrics', 1, 'feed2/', '{}', 0);";
    file.write(Durability::Relaxed, move |write| write.execute_batch(rows).map_err(Error::from)).await.unwrap();
    let left = async || {
        let mut keys = Vec::new();
        for topic in ["user-profile-updates", "item-stats-updates", "recommendation-metrics"] {
            let messages = world.store.published(&world.tenant, topic, 0, 10).await.unwrap();
            keys.extend(messages.into_iter().map(|message| message.key));
        }
        keys
    };
    world.files.purge(&world.tenant, Purge::User("ann".to_owned())).await.unwrap();
    assert_eq!(left().await, ["feed/joann", "feed/ann", "feed2/"]);
    world.files.purge(&world.tenant, Purge::Scenario("feed".to_owned())).await.unwrap();
    assert_eq!(left().await, ["feed2/"]);
}

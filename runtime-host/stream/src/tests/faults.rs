//! Operators that fail, and events that they fail with.

use super::*;

#[tokio::test]
async fn a_poisoned_event_is_passed_over_and_said_so() {
    let world = World::new();
    let operator = Counting { poison: |event| event.item_id == "p", ..Counting::new(SECOND, SECOND, 0) };
    let mut events: Vec<(u64, &str)> = (0..500).map(|at| (NOW + at, ["a", "b"][at as usize % 2])).collect();
    events.insert(77, (NOW, "p"));
    events.insert(300, (NOW + 1, "p"));
    world.append(&events).await;
    world.run(&operator, NOW).await;
    assert_eq!(world.counted("seen_total").await, BTreeMap::from([("a".into(), 250.0), ("b".into(), 250.0)]));
    assert_eq!(world.counted("stream_dead_letters_total").await["counting"], 2.0);
    let dead = world.store.dead_letters(&world.tenant, 10).await.unwrap();
    assert_eq!(dead.len(), 2);
    let (name, letter) = &dead[0];
    assert_eq!((name.as_str(), letter.reason.as_str(), letter.user_id.as_str()), ("counting", "poison", "ann"));
    let mut offsets: Vec<u64> = dead.iter().map(|(_, letter)| letter.offset).collect();
    offsets.sort_unstable();
    assert_eq!(offsets, [78, 301]);
}

#[tokio::test]
async fn the_search_for_poison_has_an_end() {
    let world = World::new();
    let operator = Counting { poison: |event| event.item_id == "p", ..Counting::new(SECOND, SECOND, 0) };
    let events: Vec<(u64, &str)> = (0..limits::STREAM_EVENTS).map(|_| (NOW, "p")).collect();
    world.append(&events).await;
    world.run(&operator, NOW).await;
    assert!(operator.asked.load(Ordering::Relaxed) < 8 * limits::STREAM_FAILURES);
    let dead = world.store.dead_letters(&world.tenant, u32::MAX).await.unwrap();
    assert_eq!(dead.len(), events.len());
    world.append(&[(NOW, "a")]).await;
    world.run(&operator, NOW).await;
    assert_eq!(world.counted("seen_total").await["a"], 1.0);
}

#[tokio::test]
async fn an_operator_that_is_broken_loses_nothing() {
    let (world, operator) = (World::new(), Counting::new(SECOND, SECOND, 0));
    world.append(&[(NOW, "a"), (NOW, "b")]).await;
    operator.broken.store(9, Ordering::Relaxed);
    let error = world.engine.step(&world.tenant, &operator, NOW).await.unwrap_err();
    assert!(matches!(error, StepError::Operator { .. }), "{error}");
    operator.broken.store(0, Ordering::Relaxed);
    world.run(&operator, NOW).await;
    assert_eq!(world.counted("seen_total").await.values().sum::<f64>(), 2.0);
    assert!(world.store.dead_letters(&world.tenant, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_operator_that_sums_nothing_up_passes_no_window_over() {
    let (world, operator) = (World::new(), Counting::new(SECOND, SECOND, 0));
    world.append(&[(NOW, "a")]).await;
    let later = NOW + 2 * limits::STREAM_IDLE.as_millis() as u64;
    operator.silent.store(true, Ordering::Relaxed);
    assert_eq!(world.engine.step(&world.tenant, &operator, later).await.unwrap(), Outcome::Advanced);
    world.engine.step(&world.tenant, &operator, later).await.unwrap_err();
    operator.silent.store(false, Ordering::Relaxed);
    world.run(&operator, later).await;
    assert_eq!(world.said().await.len(), 1);
    assert!(world.store.dead_letters(&world.tenant, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_was_late_once_is_counted() {
    let (world, operator) = (World::new(), Counting::new(SECOND, SECOND, 0));
    world.append(&[(NOW, "a")]).await;
    operator.late.store(1, Ordering::Relaxed);
    world.run(&operator, NOW).await;
    assert_eq!(world.counted("seen_total").await["a"], 1.0);
    // And what always is, is passed over.
    world.append(&[(NOW, "a")]).await;
    operator.late.store(2, Ordering::Relaxed);
    world.run(&operator, NOW).await;
    assert_eq!(world.counted("seen_total").await["a"], 1.0);
    assert_eq!(world.store.dead_letters(&world.tenant, 10).await.unwrap()[0].1.reason, "late");
}

#[tokio::test]
async fn a_pane_that_cannot_be_read_any_more_begins_anew() {
    let (world, operator) = (World::new(), Counting::new(SECOND, SECOND, 0));
    world.append(&[(NOW, "a"), (NOW, "a"), (NOW, "b")]).await;
    world.run(&operator, NOW).await;
    let file = world.files.open(&world.tenant).await.unwrap();
    let spoil = "UPDATE stream_panes SET accumulator = x'00' WHERE instr(key, 'a') > 0";
    file.write(Durability::Relaxed, move |write| write.execute_batch(spoil).map_err(Error::from)).await.unwrap();
    world.append(&[(NOW, "a"), (NOW, "b"), (NOW, "a")]).await;
    world.run(&operator, NOW).await;
    assert_eq!(world.counted("seen_total").await, BTreeMap::from([("a".into(), 4.0), ("b".into(), 2.0)]));
    let dead = world.store.dead_letters(&world.tenant, 10).await.unwrap();
    assert!(
        dead.iter().all(|(_, letter)| letter.about.starts_with("feed a, ") && letter.scenario_id == "feed")
            && !dead.is_empty(),
        "{dead:?}"
    );
}

#[tokio::test]
async fn so_many_dead_letters_are_kept() {
    let world = World::new();
    let operator = Counting { poison: |_| true, ..Counting::new(SECOND, SECOND, 0) };
    world.append(&vec![(NOW, "p"); limits::DEAD_LETTERS + 3]).await;
    world.run(&operator, NOW).await;
    let dead = world.store.dead_letters(&world.tenant, u32::MAX).await.unwrap();
    assert_eq!(dead.len(), limits::DEAD_LETTERS);
    assert_eq!((dead[0].1.offset, dead.last().unwrap().1.offset), (limits::DEAD_LETTERS as u64 + 3, 4));
    assert_eq!(world.counted("stream_dead_letters_total").await["counting"], limits::DEAD_LETTERS as f64 + 3.0);
}

#[tokio::test]
async fn what_breaks_the_contract_is_refused() {
    /// Answers with what it is told to.
    struct Wrong(Vec<Change>, Vec<u8>, Declaration);
    #[async_trait]
    impl Operator for Wrong {
        fn name(&self) -> &str {
            "wrong"
        }
        fn declaration(&self) -> &Declaration {
            &self.2
        }
        async fn aggregate(&self, batches: &[Batch]) -> Result<Vec<Vec<u8>>, Failure> {
            Ok(batches.iter().map(|_| self.1.clone()).collect())
        }
        async fn merge(&self, _: &[Vec<Vec<u8>>]) -> Result<Vec<Vec<u8>>, Failure> {
            Ok(vec![])
        }
        async fn changes(&self, panes: &[Aggregated]) -> Result<Vec<Vec<Change>>, Failure> {
            Ok(panes.iter().map(|_| self.0.clone()).collect())
        }
        async fn summary(&self, windows: &[Aggregated]) -> Result<Vec<Vec<Output>>, Failure> {
            let body = "x".repeat(limits::STREAM_MESSAGE_BYTES + 1);
            let message = Message { topic: Topic::RecommendationMetrics, key: String::new(), body };
            Ok(windows.iter().map(|_| vec![Output::Publish(message.clone()); limits::STREAM_OUTPUTS]).collect())
        }
    }
    let metric = |name: &str, amount: f64, labels: usize| {
        let label = |at: usize| (format!("l{}", "x".repeat(at)), String::new());
        Change::Metric(Metric { name: name.to_owned(), labels: (0..labels).map(label).collect(), amount })
    };
    let labelled = |labels: &[(&str, &str)]| {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Change::Metric(Metric { name: "x_total".to_owned(), labels, amount: 1.0 })
    };
    let long = format!("{}_total", "n".repeat(limits::METRIC_NAME_BYTES));
    for (changes, bytes, expected) in [
        (vec![metric("seen", 1.0, 0)], 1, "its name must be"),
        (vec![metric(&long, 1.0, 0)], 1, "its name must be"),
        (vec![metric("x_total_total", 1.0, 0)], 1, "its name must be"),
        (vec![metric("stream_late_events_total", 1.0, 0)], 1, "are the host's"),
        (vec![labelled(&[("tenant", "other")])], 1, "labels must be"),
        (vec![labelled(&[("__name__", "x")])], 1, "labels must be"),
        (vec![labelled(&[("a", "x"), ("a", "y")])], 1, "labels must be"),
        (vec![labelled(&[("a", &"x".repeat(limits::ID_BYTES + 1))])], 1, "labels must be"),
        (vec![metric("x_total", -1.0, 0)], 1, "its amount must be"),
        (vec![metric("x_total", f64::NAN, 0)], 1, "its amount must be"),
        (vec![metric("x_total", 2.0 * limits::METRIC_AMOUNT, 0)], 1, "its amount must be"),
        (vec![metric("x_total", 1.0, limits::METRIC_LABELS + 1)], 1, "at most 8 labels"),
        (vec![metric("x_total", 1.0, 0); limits::STREAM_CHANGES + 1], 1, "at most 64 a pane"),
        (vec![], limits::STREAM_ACCUMULATOR_BYTES + 1, "an accumulator may have"),
    ] {
        let world = World::new();
        let operator = Wrong(changes, vec![0; bytes], Counting::new(SECOND, SECOND, 0).declaration);
        world.append(&[(NOW, "a")]).await;
        assert_eq!(world.engine.step(&world.tenant, &operator, NOW).await.unwrap(), Outcome::Advanced);
        let dead = world.store.dead_letters(&world.tenant, 10).await.unwrap();
        assert!(dead[0].1.reason.contains(expected), "{:?}", dead[0]);
    }
    // A window that says too much is passed over, and the next ones speak.
    let world = World::new();
    let operator = Wrong(vec![], vec![1], Counting::new(SECOND, SECOND, 0).declaration);
    world.append(&[(NOW, "a")]).await;
    let later = NOW + 2 * limits::STREAM_IDLE.as_millis() as u64;
    while world.engine.step(&world.tenant, &operator, later).await.unwrap() == Outcome::Advanced {}
    let dead = world.store.dead_letters(&world.tenant, 10).await.unwrap();
    assert!(dead[0].1.reason.contains("a message may have") && dead[0].1.about.starts_with("feed a"), "{:?}", dead[0]);
}

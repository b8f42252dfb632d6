//! Windows: when they speak, and of what.

use super::*;

#[tokio::test]
async fn what_comes_is_counted_and_a_window_speaks_at_its_end() {
    let (world, operator) = (World::new(), Counting::new(10 * SECOND, 10 * SECOND, 0));
    world.append(&[(NOW, "a"), (NOW + 1, "a"), (NOW + 2, "b")]).await;
    assert!(world.run(&operator, NOW + SECOND).await, "a window waits for its end");
    assert_eq!(world.counted("seen_total").await, BTreeMap::from([("a".into(), 2.0), ("b".into(), 1.0)]));
    assert_eq!(world.counted("seconds_total").await["a"], 1.0);
    assert!(world.said().await.is_empty());
    // An event of another window, whose time is as far ahead as events may be behind.
    world.append(&[(NOW + 20 * SECOND, "a")]).await;
    world.run(&operator, NOW + 20 * SECOND).await;
    let end = NOW + 10 * SECOND;
    assert_eq!(world.said().await, BTreeMap::from([(("feed/a".into(), end), 2), (("feed/b".into(), end), 1)]));
    // The clock alone ends the last one.
    let idle = limits::STREAM_IDLE.as_millis() as u64;
    assert!(world.run(&operator, NOW + 30 * SECOND + idle - 1).await);
    assert!(!world.run(&operator, NOW + 30 * SECOND + idle).await);
    assert_eq!(world.said().await[&("feed/a".into(), NOW + 30 * SECOND)], 1);
}

#[tokio::test]
async fn a_late_event_is_counted_and_within_the_lateness_said() {
    let (world, operator) = (World::new(), Counting::new(10 * SECOND, 10 * SECOND, 20 * SECOND));
    world.append(&[(NOW, "a"), (NOW + 25 * SECOND, "b")]).await;
    world.run(&operator, NOW + 60 * SECOND).await;
    let end = NOW + 10 * SECOND;
    assert_eq!(world.said().await[&("feed/a".into(), end)], 1);
    world.append(&[(NOW + 1, "a"), (NOW + 2, "c")]).await;
    world.run(&operator, NOW + 60 * SECOND).await;
    let said = world.said().await;
    assert_eq!((said[&("feed/a".into(), end)], said[&("feed/c".into(), end)]), (2, 1));
    assert!(world.counted("stream_late_events_total").await.is_empty());
    // Past it, the event is counted and the window keeps silent.
    world.append(&[(NOW + 45 * SECOND, "b"), (NOW + 3, "x")]).await;
    world.run(&operator, NOW + 60 * SECOND).await;
    world.append(&[(NOW + 3, "a")]).await;
    world.run(&operator, NOW + 60 * SECOND).await;
    assert_eq!(world.said().await[&("feed/a".into(), end)], 2);
    assert_eq!(world.counted("seen_total").await["a"], 3.0);
    assert_eq!(world.counted("stream_late_events_total").await["counting"], 1.0);
    // Nobody's clock makes others late.
    world.append(&[(NOW + 3_600_000, "z")]).await;
    world.run(&operator, NOW + 60 * SECOND).await;
    world.append(&[(NOW + 46 * SECOND, "b")]).await;
    world.run(&operator, NOW + 60 * SECOND).await;
    assert_eq!(world.counted("stream_late_events_total").await["counting"], 1.0);
}

#[tokio::test]
async fn large_windows_fire_in_several_steps() {
    let (world, operator) = (World::new(), Counting::new(SECOND, SECOND, 60 * SECOND));
    let operator = Counting { padding: limits::STREAM_ACCUMULATOR_BYTES - 64, ..operator };
    let keys = limits::STREAM_WINDOWS_BYTES / limits::STREAM_ACCUMULATOR_BYTES + limits::STREAM_KEYS / 4;
    assert!(keys > limits::STREAM_KEYS);
    let items: Vec<String> = (0..keys).map(|at| format!("i{at:05}")).collect();
    let events: Vec<(u64, &str)> = items.iter().map(|item| (NOW, item.as_str())).collect();
    world.append(&events).await;
    let later = NOW + limits::STREAM_IDLE.as_millis() as u64 + 2 * SECOND;
    world.run(&operator, later).await;
    assert_eq!(world.said().await.len(), keys);
    // And again, for what comes late.
    world.append(&events).await;
    world.run(&operator, later).await;
    assert!(world.said().await.values().all(|count| *count == 2));
    assert_eq!(world.said().await.len(), keys);
}

#[tokio::test]
async fn windows_speak_though_the_log_never_rests() {
    let (world, operator) = (World::new(), Counting::new(10 * SECOND, 10 * SECOND, 0));
    for at in 0..20 {
        world.append(&[(NOW + at * 5 * SECOND, "a")]).await;
        world.engine.step(&world.tenant, &operator, NOW + 200 * SECOND).await.unwrap();
        // More than the step takes.
        world.append(&[(NOW + at * 5 * SECOND + 1, "a")]).await;
    }
    assert!(world.said().await.len() > 3, "{:?}", world.said().await);
}

#[tokio::test]
async fn a_window_before_those_that_are_firing_speaks_too() {
    let (world, operator) = (World::new(), Counting::new(10 * SECOND, 10 * SECOND, 60 * SECOND));
    let items: Vec<String> = (0..limits::STREAM_KEYS + 5).map(|at| format!("k{at:04}")).collect();
    let events: Vec<(u64, &str)> = items.iter().map(|item| (NOW + 30 * SECOND, item.as_str())).collect();
    world.append(&events).await;
    let later = NOW + 200 * SECOND;
    for _ in 0..2 {
        assert_eq!(world.engine.step(&world.tenant, &operator, later).await.unwrap(), Outcome::Advanced);
    }
    let progress = world.store.progress(&world.place()).await.unwrap();
    assert!(progress.firing.is_some(), "{progress:?}");
    world.append(&[(NOW + 5 * SECOND, "a")]).await;
    world.run(&operator, later).await;
    assert_eq!(world.said().await[&("feed/a".into(), NOW + 10 * SECOND)], 1);
    assert_eq!(world.said().await.len(), items.len() + 1);
}

#[tokio::test]
async fn many_keys_fire_in_several_steps() {
    let (world, operator) = (World::new(), Counting::new(SECOND, SECOND, 0));
    let items: Vec<String> = (0..limits::STREAM_KEYS * 2 + 7).map(|at| format!("i{at:05}")).collect();
    let events: Vec<(u64, &str)> = items.iter().map(|item| (NOW, item.as_str())).collect();
    world.append(&events).await;
    let later = NOW + 10 * limits::STREAM_IDLE.as_millis() as u64;
    let mut steps = 0;
    while world.engine.step(&world.tenant, &operator, later).await.unwrap() == Outcome::Advanced {
        steps += 1;
    }
    assert_eq!(steps, events.len().div_ceil(limits::STREAM_EVENTS as usize) + 3);
    assert_eq!(world.said().await.len(), items.len());
    let messages = world.store.published(&world.tenant, "recommendation-metrics", 0, u32::MAX).await.unwrap();
    assert_eq!(messages.len(), items.len(), "each window speaks once");
    assert_eq!(messages.last().unwrap().offset, items.len() as u64);
    // Nothing is left of them.
    assert_eq!(world.store.first_pane(&world.place(), 0).await.unwrap(), None);
}

/// Against a count from the raw events; the process ends at any time.
async fn compare(windows: (u64, u64, u64), now: u64, batches: Vec<Vec<(u64, u8)>>, restarts: Vec<bool>) {
    let (slides, slide, late) = windows;
    let operator = Counting::new(slides * slide * SECOND, slide * SECOND, late * SECOND);
    let mut world = World::new();
    let items = ["a", "b", "c"];
    let mut all: Vec<(u64, &str)> = Vec::new();
    for (batch, restart) in batches.into_iter().zip(restarts) {
        let events: Vec<(u64, &str)> =
            batch.into_iter().map(|(at, item)| (NOW + at * SECOND, items[usize::from(item) % 3])).collect();
        world.append(&events).await;
        all.extend(&events);
        if restart {
            // Between two steps, or after all of them.
            world.engine.step(&world.tenant, &operator, NOW + now * SECOND).await.unwrap();
            world = world.again();
        } else {
            world.run(&operator, NOW + now * SECOND).await;
        }
    }
    world.run(&operator, NOW + 100_000_000).await;
    let mut seen: BTreeMap<String, f64> = BTreeMap::new();
    all.iter().for_each(|(_, item)| *seen.entry((*item).to_owned()).or_default() += 1.0);
    assert_eq!(world.counted("seen_total").await, seen);
    let seconds: f64 = world.counted("seconds_total").await.values().sum();
    assert_eq!(seconds, all.len() as f64 * 0.5);
    // Without late events every window said what is in it.
    if world.counted("stream_late_events_total").await.is_empty() {
        let mut expected: BTreeMap<(String, u64), u64> = BTreeMap::new();
        for (at_ms, item) in &all {
            let first = at_ms - at_ms % (slide * SECOND) + slide * SECOND;
            for end in (0..slides).map(|at| first + at * slide * SECOND) {
                *expected.entry((format!("feed/{item}"), end)).or_default() += 1;
            }
        }
        assert_eq!(world.said().await, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn windows_agree_with_a_count_of_the_raw_events(
        windows in (1..5_u64, 1..20_u64, 0..400_u64),
        now in 0..400_u64,
        batches in proptest::collection::vec(proptest::collection::vec((0..200_u64, any::<u8>()), 1..40), 1..6),
        restarts in proptest::collection::vec(any::<bool>(), 6),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(compare(windows, now, batches, restarts));
    }
}

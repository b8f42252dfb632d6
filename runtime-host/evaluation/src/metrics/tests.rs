use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::{Data, Features};

fn asked(wanted: &[(u32, f32)]) -> Asked {
    Asked { user: 0, wanted: wanted.to_vec(), known: Vec::new() }
}

fn catalogue(items: u32) -> Catalogue {
    let mut data = Data::default();
    (0..items).for_each(|item| data.push("u", &format!("i{item}"), 0, 1.0));
    let train: Vec<usize> = (0..items as usize).collect();
    Catalogue::new(&data, &train, Features::default())
}

fn of(wanted: &[(u32, f32)], slate: &[u32], k: u32) -> impl Fn(Metric) -> f32 + use<> {
    let sheet = measure("x", &[asked(wanted)], &[slate.to_vec()], &catalogue(100), &Cuts::new(&[k]).unwrap()).unwrap();
    move |metric| sheet.columns.iter().find(|column| column.metric == metric).unwrap().values[0]
}

fn near(found: f32, expected: f64) -> bool {
    (f64::from(found) - expected).abs() < 2e-6
}

/// Hits at places 2 and 4 of 4, three wanted: by hand.
#[test]
fn a_slate_by_hand() {
    let value = of(&[(5, 1.0), (7, 3.0), (9, 2.0)], &[1, 5, 2, 7], 4);
    let discount = |place: f64| 1.0 / (place + 1.0).log2();
    let ideal = 1.0 + discount(2.0) + discount(3.0);
    for (metric, expected) in [
        (Metric::Recall, 2.0 / 3.0),
        (Metric::Precision, 0.5),
        (Metric::Ndcg, (discount(2.0) + discount(4.0)) / ideal),
        (Metric::GradedNdcg, (discount(2.0) + 3.0 * discount(4.0)) / (3.0 + 2.0 * discount(2.0) + discount(3.0))),
        (Metric::Map, (1.0 / 2.0 + 2.0 / 4.0) / 3.0),
        (Metric::Mrr, 0.5),
        (Metric::HitRate, 1.0),
        (Metric::Fill, 1.0),
    ] {
        assert!(near(value(metric), expected), "{metric:?} {} {expected}", value(metric));
    }
    // At 10, what is wanted fits and the slate is short.
    let value = of(&[(5, 1.0), (7, 3.0), (9, 2.0)], &[1, 5, 2, 7], 10);
    assert!(near(value(Metric::Precision), 0.2) && near(value(Metric::Fill), 0.4));
    // At 1, the best there can be is one of three.
    let value = of(&[(5, 1.0), (7, 3.0), (9, 2.0)], &[7], 1);
    assert!(near(value(Metric::Recall), 1.0 / 3.0));
    assert!([Metric::Ndcg, Metric::GradedNdcg, Metric::Map].iter().all(|metric| value(*metric) == 1.0));
}

#[test]
fn a_random_case_is_what_other_implementations_say() {
    const NAMES: [Metric; 7] = [
        Metric::Recall,
        Metric::Precision,
        Metric::Ndcg,
        Metric::GradedNdcg,
        Metric::Map,
        Metric::Mrr,
        Metric::HitRate,
    ];
    let case: Value = serde_json::from_str(include_str!("expected.json")).unwrap();
    let users = case["users"].as_array().unwrap();
    assert_eq!(users.len(), 16);
    for user in users {
        let wanted: Vec<(u32, f32)> = serde_json::from_value(user["wanted"].clone()).unwrap();
        let slate: Vec<u32> = serde_json::from_value(user["slate"].clone()).unwrap();
        for k in [3, 10] {
            let value = of(&wanted, &slate, k);
            let expected: Vec<f64> = serde_json::from_value(user["expected"][k.to_string()].clone()).unwrap();
            for (metric, expected) in NAMES.iter().zip(expected) {
                assert!(near(value(*metric), expected), "{metric:?}@{k} {} {expected} {user}", value(*metric));
            }
        }
    }
}

#[test]
fn a_slate_that_repeats_an_item_hits_once() {
    let value = of(&[(5, 1.0), (6, 1.0)], &[5, 5, 5, 5], 4);
    assert!(near(value(Metric::Recall), 0.5) && near(value(Metric::Precision), 0.25) && near(value(Metric::Map), 0.5));
}

#[test]
fn an_empty_slate_finds_nothing_and_has_no_novelty() {
    let value = of(&[(5, 1.0)], &[], 4);
    for metric in Metric::ALL {
        let found = value(metric);
        match metric.is_accuracy() || metric == Metric::Fill {
            true => assert_eq!(found, 0.0, "{metric:?}"),
            false => assert!(found.is_nan(), "{metric:?}"),
        }
    }
}

#[test]
fn a_slate_for_each_user() {
    let error = measure("x", &[asked(&[(1, 1.0)])], &[], &catalogue(3), &Cuts::new(&[1]).unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "`x` has 0 slates for 1 users");
}

#[test]
fn cuts_are_within_the_limits() {
    assert_eq!(Cuts::new(&[20, 10, 20]).unwrap().as_slice(), [10, 20]);
    let most = funnelweb_core::limits::COUNT;
    for (cuts, words) in [
        (&[][..], "the number of cuts (k) must be 1 to 8, not 0"),
        (&[1, 2, 3, 4, 5, 6, 7, 8, 9], "the number of cuts (k) must be 1 to 8, not 9"),
        (&[0, 5], "k must be 1 to 200, not 0"),
        (&[most + 1], "k must be 1 to 200, not 201"),
    ] {
        assert_eq!(Cuts::new(cuts).unwrap_err().to_string(), words);
    }
    assert!(Cuts::new(&[1, 2, 3, 4, 5, 6, 7, most]).is_ok() && limits::CUTS == 8);
}

proptest! {
    /// Whatever the slate: all is between 0 and 1, a longer cut finds no less, and
    /// the wanted ones in the best order are perfect.
    #[test]
    fn accuracy_behaves(
        wanted in prop::collection::btree_map(0_u32..40, 0.5_f32..8.0, 1..12),
        slate in prop::collection::vec(0_u32..40, 0..30),
        k in 1_u32..25,
    ) {
        let wanted: Vec<(u32, f32)> = wanted.into_iter().collect();
        let (value, longer) = (of(&wanted, &slate, k), of(&wanted, &slate, k + 1));
        for metric in Metric::ALL.into_iter().filter(|metric| metric.is_accuracy()) {
            prop_assert!((0.0..=1.0 + 1e-6).contains(&value(metric)), "{:?} {}", metric, value(metric));
            let hit = value(Metric::HitRate) == 1.0;
            prop_assert_eq!(value(metric) > 0.0, hit, "{:?}", metric);
        }
        for metric in [Metric::Recall, Metric::HitRate, Metric::Mrr] {
            prop_assert!(longer(metric) >= value(metric), "{:?}", metric);
        }
        let mut best = wanted.clone();
        best.sort_by(|a, b| b.1.total_cmp(&a.1));
        let best: Vec<u32> = best.into_iter().map(|(item, _)| item).collect();
        let perfect = of(&wanted, &best, k);
        for metric in [Metric::Ndcg, Metric::GradedNdcg, Metric::Map, Metric::Mrr, Metric::HitRate] {
            prop_assert!((perfect(metric) - 1.0).abs() < 1e-6, "{:?} {}", metric, perfect(metric));
        }
    }

    /// Moving a hit up never lowers what counts places.
    #[test]
    fn a_hit_further_up_is_no_worse(hits in prop::collection::btree_set(1_usize..20, 1..6), which: prop::sample::Index) {
        let places: Vec<usize> = hits.iter().copied().filter(|at| !hits.contains(&(at - 1))).collect();
        let at = places[which.index(places.len())];
        let mut slate: Vec<u32> = (0..20).map(|at| if hits.contains(&at) { at as u32 } else { 50 + at as u32 }).collect();
        let wanted: Vec<(u32, f32)> = hits.iter().map(|at| (*at as u32, 1.0)).collect();
        let before = of(&wanted, &slate, 20);
        slate.swap(at, at - 1);
        let after = of(&wanted, &slate, 20);
        for metric in [Metric::Ndcg, Metric::Map] {
            prop_assert!(after(metric) > before(metric), "{:?}", metric);
        }
        prop_assert!(after(Metric::Mrr) >= before(Metric::Mrr));
        prop_assert_eq!(after(Metric::Recall), before(Metric::Recall));
    }
}

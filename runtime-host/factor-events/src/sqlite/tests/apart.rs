//! Two tenants with the same ids never see each other, whatever is done to them
//! in whichever order.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Append { tenant: usize, id: u8, user: u8, item: u8 },
    Expose { tenant: usize, user: u8, item: u8 },
    Settle(usize),
    DeleteUser(usize, u8),
    DeleteScenario(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (tenant, user, item) = (|| 0..2_usize, || 0..3_u8, || 0..4_u8);
    let step = prop_oneof![
        6 => (tenant(), 0..30_u8, user(), item()).prop_map(|(tenant, id, user, item)| Step::Append { tenant, id, user, item }),
        3 => (tenant(), user(), item()).prop_map(|(tenant, user, item)| Step::Expose { tenant, user, item }),
        1 => tenant().prop_map(Step::Settle),
        1 => (tenant(), user()).prop_map(|(tenant, user)| Step::DeleteUser(tenant, user)),
        1 => tenant().prop_map(Step::DeleteScenario),
    ];
    prop::collection::vec(step, 1..30)
}

/// What a tenant has to be.
#[derive(Default)]
struct Model {
    /// User and item by event id, in the order of the log.
    log: Vec<(u8, u8, u8)>,
    hot: BTreeMap<u8, f32>,
    seen: BTreeMap<u8, u64>,
    shown: BTreeMap<u8, BTreeSet<u64>>,
}

impl Model {
    async fn check(&self, s: &Stores, t: &Tenant) {
        let log = s.events.read(t, 0, 1000).await.unwrap();
        let ids: Vec<String> = log.into_iter().map(|one| one.event.event_id).collect();
        assert_eq!(ids, self.log.iter().map(|(id, _, _)| format!("e{id}")).collect::<Vec<_>>());
        for item in 0..4 {
            let hot = s.live.hot_scores(t, feed(), vec![id::handle(&format!("i{item}"))], NOW_MS).await.unwrap();
            assert_eq!(hot, [self.hot.get(&item).copied().unwrap_or(0.0)]);
        }
        for user in 0..3 {
            let name = format!("u{user}");
            let seen = s.profile(t, &name).await.map(|(_, profile)| profile["features"]["seen"].as_u64().unwrap());
            assert_eq!(seen, self.seen.get(&user).copied());
            let shown: BTreeSet<u64> = s.live.exposed(t, feed(), name.clone()).await.unwrap().into_iter().collect();
            assert_eq!(shown, self.shown.get(&user).cloned().unwrap_or_default());
            let query = HistoryQuery { user_id: Some(name), limit: 1000, ..HistoryQuery::default() };
            let own = self.log.iter().rev().filter(|(_, of, _)| *of == user).map(|(id, _, _)| format!("e{id}"));
            assert_eq!(s.history(t, query).await, own.collect::<Vec<_>>());
        }
    }
}

async fn follow(steps: Vec<Step>) {
    // One file at a time stays open, so that closing and opening is part of it.
    let folder = tempfile::tempdir().unwrap();
    let s = open_with(folder.path(), 1);
    let tenants = ["a", "b"].map(|id| Tenant::new(id).unwrap());
    let mut models = [Model::default(), Model::default()];
    for step in steps {
        match step {
            Step::Append { tenant, id, user, item } => {
                let model = &mut models[tenant];
                let (event, by, of) = (format!("e{id}"), format!("u{user}"), format!("i{item}"));
                let outcome = s.append(&tenants[tenant], &event, &by, &of).await;
                let known = model.log.iter().any(|(other, _, _)| *other == id);
                assert_eq!(outcome == AppendOutcome::Duplicate, known);
                if !known {
                    model.log.push((id, user, item));
                    *model.hot.entry(item).or_default() += 1.0;
                    *model.seen.entry(user).or_default() += 1;
                }
            }
            Step::Expose { tenant, user, item } => {
                let (by, of) = (format!("u{user}"), format!("i{item}"));
                models[tenant].shown.entry(user).or_default().insert(id::handle(&of));
                s.live.expose(&tenants[tenant], feed(), Some(by), vec![of], 60).await.unwrap();
            }
            Step::Settle(tenant) => {
                let file = s.events.stores.open(&tenants[tenant]).await.unwrap();
                file.write(Durability::Durable, |write| write.settle()).await.unwrap();
            }
            Step::DeleteUser(tenant, user) => {
                let model = &mut models[tenant];
                s.documents.delete_user(&tenants[tenant], format!("u{user}")).await.unwrap();
                model.log.retain(|(_, of, _)| *of != user);
                model.seen.remove(&user);
                model.shown.remove(&user);
            }
            Step::DeleteScenario(tenant) => {
                s.documents.delete_scenario(&tenants[tenant], feed()).await.unwrap();
                models[tenant] = Model::default();
            }
        }
        for (model, tenant) in models.iter().zip(&tenants) {
            model.check(&s, tenant).await;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn two_tenants_never_see_each_other(steps in steps()) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(follow(steps));
    }
}

//! Operators that tenants bring.

use super::*;
use crate::own::{self, Own, OwnOperators};

/// The operators of each tenant, by their names.
struct Brought(Vec<(Tenant, Arc<dyn Operator>)>);

#[async_trait]
impl OwnOperators for Brought {
    async fn of(&self, tenant: &Tenant) -> Result<Own, Error> {
        let of = self.0.iter().filter(|(of, _)| of == tenant).map(|(_, operator)| Arc::clone(operator));
        Ok(Own { operators: of.collect(), waits: false })
    }
}

fn named(name: &str, begins: u64) -> Counting {
    Counting { name: own::name(name, 7), begins, ..Counting::new(SECOND, SECOND, 0) }
}

#[tokio::test]
async fn one_takes_what_comes_from_its_begin_on() {
    let (world, operator) = (World::new(), named("late", 3));
    world.append(&[(NOW, "a"), (NOW, "a"), (NOW, "a"), (NOW, "b")]).await;
    world.run(&operator, NOW).await;
    assert_eq!(world.counted("seen_total").await, BTreeMap::from([("a".to_owned(), 1.0), ("b".to_owned(), 1.0)]));
    // One that has ended takes nothing, whoever asks it.
    world.store.end_operator(&world.tenant, &operator.name).await.unwrap();
    world.append(&[(NOW, "a")]).await;
    world.run(&operator, NOW).await;
    assert_eq!(world.counted("seen_total").await["a"], 1.0);
}

#[tokio::test]
async fn what_it_cannot_take_is_counted_as_its_own() {
    let (world, operator) = (World::new(), named("picky", 0));
    let operator = Counting { poison: |event| event.item_id == "poison", ..operator };
    world.append(&[(NOW, "a"), (NOW, "poison")]).await;
    world.run(&operator, NOW).await;
    assert_eq!(world.counted("own_stream_dead_letters_total").await, BTreeMap::from([("picky".to_owned(), 1.0)]));
    assert!(world.counted("stream_dead_letters_total").await.is_empty());
}

/// Never answers.
struct Hanging(Counting);

#[async_trait]
impl Operator for Hanging {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn declaration(&self) -> &Declaration {
        self.0.declaration()
    }

    async fn aggregate(&self, _: &[Batch]) -> Result<Vec<Vec<u8>>, Failure> {
        std::future::pending().await
    }

    async fn merge(&self, _: &[Vec<Vec<u8>>]) -> Result<Vec<Vec<u8>>, Failure> {
        std::future::pending().await
    }

    async fn changes(&self, _: &[Aggregated]) -> Result<Vec<Vec<Change>>, Failure> {
        std::future::pending().await
    }

    async fn summary(&self, _: &[Aggregated]) -> Result<Vec<Vec<Output>>, Failure> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn nobody_waits_for_one_that_hangs() {
    let world = World::new();
    let other = Tenant::new("other").unwrap();
    let brought: Vec<(Tenant, Arc<dyn Operator>)> =
        vec![(world.tenant.clone(), Arc::new(Hanging(named("hanging", 0))))];
    let grown = Arc::new(Grown::default());
    let log = Arc::new(Watched::new(Arc::clone(&world.log), Arc::clone(&world.store), Arc::clone(&grown)));
    let application: Vec<Arc<dyn Operator>> = vec![Arc::new(Counting::new(SECOND, SECOND, 0))];
    let streams = Streams::new(log.clone(), Arc::clone(&world.store), application, grown);
    let streams = Arc::new(streams.with_own(Arc::new(Brought(brought))));
    let following = tokio::spawn(Arc::clone(&streams).follow());
    for tenant in [&world.tenant, &other, &world.tenant] {
        let at = log.last_offset(tenant).await.unwrap() as usize;
        log.append(tenant, vec![logged(at, NOW, "a")], vec![vec![]]).await.unwrap();
        // Waits for the application's operators, and for those alone.
        log.settle(tenant).await.unwrap();
    }
    assert_eq!(world.store.progress(&world.place()).await.unwrap().next, 3);
    following.abort();
}

#[tokio::test]
async fn each_follows_its_own_tenants_log() {
    let world = World::new();
    let other = Tenant::new("other").unwrap();
    let brought: Vec<(Tenant, Arc<dyn Operator>)> = vec![
        (world.tenant.clone(), Arc::new(named("one", 0))),
        (other.clone(), Arc::new(named("one", 2))),
        (other.clone(), Arc::new(named("two", 0))),
    ];
    let grown = Arc::new(Grown::default());
    let log = Arc::new(Watched::new(Arc::clone(&world.log), Arc::clone(&world.store), Arc::clone(&grown)));
    let streams = Streams::new(log.clone(), Arc::clone(&world.store), Vec::new(), grown);
    let streams = Arc::new(streams.with_own(Arc::new(Brought(brought))));
    let following = tokio::spawn(Arc::clone(&streams).follow());
    for tenant in [&world.tenant, &other] {
        log.append(tenant, (0..2).map(|at| logged(at, NOW, "a")).collect(), vec![vec![]; 2]).await.unwrap();
    }
    let seen = async |tenant: &Tenant| {
        let all = world.store.counters().await.unwrap();
        let values = all.into_iter().filter(|(of, _)| of == tenant).flat_map(|(_, values)| values.as_ref().clone());
        values.filter(|(series, _)| series.name == "seen_total").map(|(_, value)| value).sum::<f64>()
    };
    let counted = async {
        while (seen(&world.tenant).await, seen(&other).await) != (2.0, 3.0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), counted).await.unwrap();
    following.abort();
}

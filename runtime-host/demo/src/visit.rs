//! Visits of users who are recommended to, and what they do with a slate.

use crate::{
    Context, Event, World,
    draw::Purpose,
    history::{Session, Writer},
};

/// How likely somebody looks at the next item of a slate.
const GOES_ON: f64 = 0.93;

/// A user who is about to ask for a slate.
pub struct Visit<'w> {
    world: &'w World,
    number: u64,
    session: Session,
}

impl World {
    /// A visit; the same number is the same user in the same mood.
    #[must_use]
    pub fn visit(&self, number: u64) -> Visit<'_> {
        Visit { world: self, number, session: Session::new(self, Purpose::Visit, number, self.now_ms) }
    }
}

impl Visit<'_> {
    /// Who it is.
    #[must_use]
    pub fn user_id(&self) -> String {
        self.world.user_id(self.session.taste.user)
    }

    /// Where and on what.
    #[must_use]
    pub fn context(&self) -> Context {
        self.session.context
    }

    /// What the user does with a slate that is shown now. The items are looked at from
    /// the first on, each next one with a probability of 0.93; what is seen is an
    /// impression. Items that are not of this world are passed over. Everything happens
    /// at `now_ms`, the ids of the behaviours are of this visit and moment.
    #[must_use]
    pub fn reactions<S: AsRef<str>>(self, slate: &[S], now_ms: u64) -> Vec<Event> {
        let Self { world, number, mut session } = self;
        session.time_ms = now_ms;
        let prefix = format!("{}_visit_{now_ms}_{number}", world.kind.name());
        let mut writer = Writer::new(world, prefix, now_ms);
        for item in slate.iter().filter_map(|id| world.item_index(id.as_ref())) {
            writer.expose(&mut session, &world.latent(item).0);
            if !session.draws.chance(GOES_ON) {
                break;
            }
        }
        writer.queue.into()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{Kind, Size};

    const NOW_MS: u64 = 1_767_225_600_000;

    fn world() -> World {
        World::new(Kind::Ecommerce, Size { items: 500, users: 20, events: 0 }, 7, NOW_MS).unwrap()
    }

    #[test]
    fn who_is_shown_what_suits_them_clicks_more() {
        let world = world();
        let clicks = |slate: &dyn Fn(u32) -> Vec<String>| {
            let of = |number| {
                let visit = world.visit(number);
                let user = world.user_index(&visit.user_id()).unwrap();
                let events = visit.reactions(&slate(user), NOW_MS + 5);
                events.iter().filter(|event| event.action_type == "click").count()
            };
            (0..200).map(of).sum::<usize>()
        };
        let best = clicks(&|user| world.best(user, 10));
        let any = clicks(&|user| (0..10).map(|at| world.item_id((user * 31 + at * 17) % 500)).collect());
        assert!(best > 3 * any, "{best} against {any}");
    }

    #[test]
    fn what_is_seen_is_an_impression_and_happens_now() {
        let world = world();
        let slate: Vec<String> = (0..20).map(|item| world.item_id(item)).chain(["stranger".to_owned()]).collect();
        let mut ids = BTreeSet::new();
        let mut seen = 0;
        for number in 0..100 {
            let events = world.visit(number).reactions(&slate, NOW_MS);
            let impressions = events.iter().filter(|event| event.action_type == "impression");
            let items: Vec<&str> = impressions.map(|event| event.item_id.as_str()).collect();
            assert_eq!(items, &slate[..items.len()]);
            seen += items.len();
            for event in events {
                assert_eq!(event.user_id, world.visit(number).user_id());
                assert_eq!(event.timestamp, funnelweb_core::time::format_ms(NOW_MS));
                assert!(ids.insert(event.event_id));
            }
        }
        // Expected are (1 - 0.93^20) / 0.07 = 10.9 of 20.
        assert!((900..1300).contains(&seen), "{seen}");
    }

    #[test]
    fn the_same_visit_is_the_same() {
        let (one, other) = (world(), world());
        let slate = one.best(3, 10);
        assert_eq!(one.visit(9).reactions(&slate, NOW_MS), other.visit(9).reactions(&slate, NOW_MS));
    }
}

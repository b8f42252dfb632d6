//! The movement itself.

use funnelweb_core::decay;
use funnelweb_core::limits;

use super::{Counter, Move, Recent, Scores, State, scores_name};

/// A score nearer to 0 is forgotten.
const LEAST_SCORE: f64 = 1e-6;

impl<'a> State<'a> {
    /// Moves the profile by a user's events in one scenario, in any order. An
    /// event older than the profile is itself decayed to the profile's time, so
    /// the order in which events arrive does not matter.
    pub(crate) fn apply(&mut self, moves: impl Iterator<Item = &'a Move> + Clone) {
        let Some(newest) = moves.clone().max_by_key(|one| one.at_ms) else { return };
        let at_ms = self.at_ms.unwrap_or(0).max(newest.at_ms);
        let aged = self.at_ms.map_or(1.0, |before_ms| decay::factor(before_ms, at_ms, newest.effect.half_life_s));
        self.at_ms = Some(at_ms);
        self.active_ms = self.active_ms.max(Some(newest.at_ms));
        if aged != 1.0 {
            for (_, score) in self.scores.iter_mut().flat_map(|scores| &mut scores.values) {
                *score *= aged;
            }
        }
        for one in moves {
            self.updated_ms = self.updated_ms.max(one.accepted_ms);
            self.add(one, at_ms);
        }
        for scores in &mut self.scores {
            scores.values.retain(|(_, score)| score.abs() >= LEAST_SCORE);
            if scores.values.len() > limits::PROFILE_PREFERENCES {
                scores.values.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()).then_with(|| a.0.cmp(&b.0)));
                scores.values.truncate(limits::PROFILE_PREFERENCES);
            }
        }
    }

    fn add(&mut self, one: &'a Move, at_ms: u64) {
        let effect = &one.effect;
        let decay = decay::factor(one.at_ms, at_ms, effect.half_life_s);
        for (field, value, weight) in &effect.preferences {
            let weight = f64::from(*weight) * decay;
            match self.scores.iter_mut().find(|scores| scores.is_of(field)) {
                Some(scores) => scores.add(value, weight),
                None => self
                    .scores
                    .push(Scores { name: scores_name(field).into(), values: vec![(value.as_str().into(), weight)] }),
            }
        }
        for (name, amount) in &effect.counters {
            match self.counters.iter_mut().find(|counter| counter.name == *name) {
                Some(counter) => {
                    counter.value += amount;
                    counter.moved = true;
                }
                None => self.counters.push(Counter { name: name.as_str().into(), value: *amount, moved: true }),
            }
        }
        if effect.recent {
            self.recent_moved = true;
            self.add_recent(one);
        }
    }

    /// Puts an item in front of older ones, each once.
    fn add_recent(&mut self, one: &'a Move) {
        if let Some(same) = self.recent.iter().position(|entry| entry.item == one.item) {
            if self.recent.get(same).is_some_and(|entry| entry.at_ms > one.at_ms) {
                return;
            }
            self.recent.remove(same);
        }
        // Nearly always the first is older already.
        let place = self.recent.iter().position(|entry| entry.at_ms <= one.at_ms).unwrap_or(self.recent.len());
        let (item, action) = (one.item.as_str().into(), one.action.as_str().into());
        self.recent.insert(place, Recent { item, at_ms: one.at_ms, action, text: None });
        self.recent.truncate(limits::PROFILE_RECENT_ITEMS);
    }
}

impl<'a> Scores<'a> {
    fn is_of(&self, field: &str) -> bool {
        match field {
            "tags" => self.name == "tag_scores",
            field => self.name.strip_suffix("_scores") == Some(field),
        }
    }

    fn add(&mut self, value: &'a str, weight: f64) {
        match self.values.iter_mut().find(|(other, _)| other == value) {
            Some((_, score)) => *score += weight,
            None => self.values.push((value.into(), weight)),
        }
    }
}

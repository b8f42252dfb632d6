//! What is exported.

use std::collections::BTreeSet;

use funnelweb_core::scenario::Behaviors;

use crate::{
    error::{Error, Result},
    limits,
};

/// What is exported.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Of this scenario.
    pub scenario_id: String,
    /// How long after it was shown a behaviour belongs to an item, in milliseconds.
    pub window_ms: u64,
    /// Only what was shown from then on.
    pub from_ms: Option<u64>,
    /// Only what was shown before then.
    pub until_ms: Option<u64>,
    /// How large the parts are.
    pub shares: Shares,
    /// What the labels are made of.
    pub actions: Actions,
    /// Only items that their user has seen: of each slate those down to the last one
    /// with any behaviour, be it an `impression`; none of a slate without any.
    pub only_seen: bool,
    /// Slates too whose window has not ended, with what happened so far.
    pub unfinished: bool,
    /// Whether a file that exists is replaced.
    pub force: bool,
}

/// The parts of the requests that are put aside: the newest are `test`, those before
/// them `valid`, the others `train`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shares {
    /// What says when to stop training.
    pub valid: f64,
    /// What a model is measured on.
    pub test: f64,
}

/// Which behaviours the labels are made of, by `action_type`.
#[derive(Debug, Clone, PartialEq)]
pub struct Actions {
    /// Those of `label_click`.
    pub clicks: Clicks,
    /// Those of `label_conversion`.
    pub conversions: BTreeSet<String>,
}

/// Which behaviours are a click.
#[derive(Debug, Clone, PartialEq)]
pub enum Clicks {
    /// Those that the scenario gives a weight above 0: whatever says that the user
    /// engaged with the item, a `view` as much as a `purchase`. An `impression` weighs
    /// nothing, a `dislike` less.
    Weighing(Behaviors),
    /// These.
    Named(BTreeSet<String>),
}

impl Options {
    /// A day's window, three parts of 0.7, 0.1 and 0.2, everything that is finished.
    #[must_use]
    pub fn new(scenario_id: impl Into<String>, behaviors: Behaviors) -> Self {
        Self {
            scenario_id: scenario_id.into(),
            window_ms: 24 * 3600 * 1000,
            from_ms: None,
            until_ms: None,
            shares: Shares { valid: 0.1, test: 0.2 },
            actions: Actions {
                clicks: Clicks::Weighing(behaviors),
                conversions: BTreeSet::from(["purchase".to_owned()]),
            },
            only_seen: false,
            unfinished: false,
            force: false,
        }
    }

    /// # Errors
    /// The first option that breaks a rule.
    pub(crate) fn check(&self) -> Result<()> {
        let (least, most) = (limits::WINDOW_MS.start(), limits::WINDOW_MS.end());
        if !limits::WINDOW_MS.contains(&self.window_ms) {
            let rule = format!("must be {} s to {} h, got {} ms", least / 1000, most / 3_600_000, self.window_ms);
            return Err(Error::option("window", rule));
        }
        if self.from_ms.zip(self.until_ms).is_some_and(|(from, until)| from >= until) {
            return Err(Error::option("from", "must be before until"));
        }
        let Shares { valid, test } = self.shares;
        for (name, share) in [("valid", valid), ("test", test)] {
            if !(0.0..1.0).contains(&share) {
                return Err(Error::option(name, format!("must be at least 0 and below 1, got {share}")));
            }
        }
        if valid + test >= 1.0 {
            return Err(Error::option("valid", format!("must leave something to train, got {valid} and test {test}")));
        }
        Ok(())
    }

    /// Whether what was shown then is asked for.
    pub(crate) fn is_within(&self, shown_at_ms: u64) -> bool {
        self.from_ms.is_none_or(|from| shown_at_ms >= from) && self.until_ms.is_none_or(|until| shown_at_ms < until)
    }

    /// Whether what was shown then may have taken a behaviour from what is asked for.
    pub(crate) fn is_beyond(&self, shown_at_ms: u64) -> bool {
        let beyond = |until: u64| (until..until.saturating_add(self.window_ms)).contains(&shown_at_ms);
        self.until_ms.is_some_and(beyond)
    }
}

impl Actions {
    pub(crate) fn is_click(&self, action_type: &str) -> bool {
        match &self.clicks {
            Clicks::Weighing(behaviors) => behaviors.weight(action_type) > 0.0,
            Clicks::Named(names) => names.contains(action_type),
        }
    }

    pub(crate) fn is_conversion(&self, action_type: &str) -> bool {
        self.conversions.contains(action_type)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut Options)) -> String {
        let mut options = Options::new("s", Behaviors::default());
        assert!(options.check().is_ok());
        change(&mut options);
        options.check().unwrap_err().to_string()
    }

    #[test]
    fn options_have_their_rules() {
        assert_eq!(refused(|options| options.window_ms = 999), "window: must be 1 s to 720 h, got 999 ms");
        assert!(refused(|options| options.window_ms = limits::WINDOW_MS.end() + 1).starts_with("window"));
        assert_eq!(
            refused(|options| (options.from_ms, options.until_ms) = (Some(5), Some(5))),
            "from: must be before until"
        );
        assert_eq!(refused(|options| options.shares.valid = -0.1), "valid: must be at least 0 and below 1, got -0.1");
        assert!(refused(|options| options.shares.test = f64::NAN).starts_with("test"));
        assert!(refused(|options| options.shares.valid = 0.8).contains("must leave something to train"));
    }

    #[test]
    fn what_weighs_is_a_click_and_what_is_bought_a_conversion() {
        let mut actions = Options::new("s", Behaviors::default()).actions;
        let clicks = |actions: &Actions| ["view", "click", "purchase"].map(|name| actions.is_click(name));
        assert_eq!(clicks(&actions), [true; 3]);
        assert_eq!(["impression", "dislike", "skip", "hum"].map(|name| actions.is_click(name)), [false; 4]);
        assert_eq!(["purchase", "click"].map(|name| actions.is_conversion(name)), [true, false]);
        actions.clicks = Clicks::Named(BTreeSet::from(["click".to_owned()]));
        assert_eq!(clicks(&actions), [false, true, false]);
    }
}

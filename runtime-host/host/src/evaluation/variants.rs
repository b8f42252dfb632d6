//! The funnels that are compared: a scenario's own, and what is left of it when
//! parts are taken away.

use funnelweb_core::scenario::{Cache, Config, Exposure, Scenario, Strategy};
use funnelweb_evaluation::report::RunKind;

/// Channels that learn from everybody's behaviour.
const COLLABORATIVE: [&str; 3] = ["item_cf", "user_cf", "vector_search"];

/// One funnel.
#[derive(Debug, Clone, PartialEq)]
pub struct Variant {
    /// Unique among a scenario's variants.
    pub name: String,
    /// A channel or a funnel.
    pub kind: RunKind,
    /// What it is.
    pub scenario: Scenario,
}

impl Variant {
    /// Whether a channel of it learns from everybody's behaviour.
    #[must_use]
    pub fn learns(&self) -> bool {
        self.scenario.config.recall.strategies.iter().any(is_collaborative)
    }
}

fn is_collaborative(strategy: &Strategy) -> bool {
    COLLABORATIVE.contains(&strategy.name.as_str())
}

/// The whole funnel's name.
pub const FUNNEL: &str = "funnel";

/// Of a scenario, in this order: each recall channel by itself, in the order of its
/// own scores; all of them merged, where more follows upon the merge; the funnel
/// without its collaborative channels, where it has others; the funnel. None leaves
/// out what a user was shown, since nobody is shown anything.
#[must_use]
pub fn variants(scenario: &Scenario) -> Vec<Variant> {
    let config = &scenario.config;
    let strategies = &config.recall.strategies;
    let variant = |name: &str, kind, config: Config| {
        let exposure = Exposure { enabled: false, log_share: 0.0, ..config.exposure };
        // Every question is asked of the stages.
        let cache = Cache { enabled: Some(false), ..config.cache };
        let config = Config { exposure, cache, ..config };
        Variant { name: name.to_owned(), kind, scenario: Scenario { config, ..scenario.clone() } }
    };
    // Ranked by what recall says of them, and by nothing else.
    let recall_of = |strategies: Vec<Strategy>| {
        let mut recall = config.recall.clone();
        recall.strategies = strategies;
        Config { recall, behaviors: config.behaviors.clone(), ..Config::default() }
    };
    let mut all = Vec::new();
    for (at, strategy) in strategies.iter().enumerate() {
        let same = |other: &&Strategy| other.name == strategy.name;
        let before = strategies.iter().take(at).filter(same).count();
        let name = if before == 0 { strategy.name.clone() } else { format!("{} ({})", strategy.name, before + 1) };
        all.push(variant(&name, RunKind::Channel, recall_of(vec![strategy.clone()])));
    }
    let merged = variant("all channels", RunKind::Funnel, recall_of(strategies.clone()));
    let funnel = variant(FUNNEL, RunKind::Funnel, config.clone());
    if strategies.len() > 1 && merged.scenario != funnel.scenario {
        all.push(merged);
    }
    let mut without = config.clone();
    without.recall.strategies.retain(|strategy| !is_collaborative(strategy));
    if !without.recall.strategies.is_empty() && without != *config {
        all.push(variant("funnel without CF", RunKind::Funnel, without));
    }
    all.push(funnel);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(strategies: &str, rest: &str) -> Scenario {
        let body = format!(
            r#"{{"scenario_id":"s","scenario_type":"t","config":{{"recall":{{"strategies":[{strategies}]}}{rest}}}}}"#
        );
        Scenario::parse(body.as_bytes()).unwrap()
    }

    fn names(scenario: &Scenario) -> Vec<String> {
        variants(scenario).into_iter().map(|variant| variant.name).collect()
    }

    #[test]
    fn parts_are_taken_away_where_there_are_any() {
        let hot = r#"{"name":"hot_items"}"#;
        assert_eq!(names(&scenario(hot, "")), ["hot_items", FUNNEL]);
        let cf = r#"{"name":"item_cf"},{"name":"item_cf","params":{"x":1}}"#;
        assert_eq!(names(&scenario(cf, "")), ["item_cf", "item_cf (2)", FUNNEL]);
        let rules = r#","rerank":{"rules":[{"name":"diversity"}]}"#;
        let both = format!("{hot},{}", r#"{"name":"user_cf","weight":0.5}"#);
        assert_eq!(names(&scenario(&both, "")), ["hot_items", "user_cf", "funnel without CF", FUNNEL]);
        let all = variants(&scenario(&both, rules));
        let names: Vec<&str> = all.iter().map(|variant| variant.name.as_str()).collect();
        assert_eq!(names, ["hot_items", "user_cf", "all channels", "funnel without CF", FUNNEL]);
        let rules = |at: usize| all[at].scenario.config.rerank.rules.len();
        assert_eq!([rules(0), rules(1), rules(2), rules(3), rules(4)], [0, 0, 0, 1, 1]);
        assert!(all.iter().all(|variant| !variant.scenario.config.exposure.enabled));
        assert!(all.iter().all(|variant| variant.scenario.check().is_ok()));
    }

    #[test]
    fn what_is_measured_without_a_scenario_is_one() {
        let text = include_bytes!("../../../config/scenarios/evaluation.json");
        let scenario = Scenario::parse(text).unwrap();
        assert_eq!(names(&scenario).len(), 7);
    }
}

//! What the guardrails say.

use funnelweb_core::experiment::{Guarded as Of, Guardrail as Rule, Metric, StoppedBy};
use funnelweb_experiment_statistics::{Alpha, Anytime, Better, Comparison, Guardrail, Power, Verdict};
use serde::Serialize;

use crate::{
    Error,
    compared::Known,
    looks::{Looks, Mismatched},
};

/// A guardrail in a group.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Guarded {
    /// What it is about.
    pub metric: Of,
    /// By how much that may get worse, as a share of the control's value.
    pub margin: f64,
    /// In which group; none for the sample ratio.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_id: Option<String>,
    /// What it says.
    pub verdict: Said,
    /// Between what the lift lies, at every look at once: it is harm when all of that is beyond
    /// the margin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lift_bounds: Option<[f64; 2]>,
    /// Of groups having the users that they should have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p_value: Option<f64>,
    /// Why it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
}

/// A verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// It is worse by more than the margin: the experiment is stopped.
    Harm,
    /// It is not worse by as much as the margin.
    Safe,
    /// It may be either.
    Open,
}

impl Guarded {
    fn open(rule: &Rule, group_id: Option<&str>) -> Self {
        Self {
            metric: rule.metric,
            margin: rule.margin,
            group_id: group_id.map(str::to_owned),
            verdict: Said::Open,
            lift_bounds: None,
            p_value: None,
            missing: None,
        }
    }

    /// Why it stops the experiment, if it does.
    #[must_use]
    pub fn harm(&self) -> Option<StoppedBy> {
        (self.verdict == Said::Harm).then(|| StoppedBy {
            metric: self.metric,
            margin: self.margin,
            group_id: self.group_id.clone(),
            lift_bounds: self.lift_bounds,
            p_value: self.p_value,
        })
    }
}

/// Judges, and remembers what is harm: it stays so.
///
/// Experiments with several guardrails, or groups, would be stopped for nothing more often than
/// those with one: alpha is shared out among them (Bonferroni), so that it is the share of
/// experiments that any of them stops where none is harmed by more than its margin.
///
/// # Errors
/// [`Error::Statistics`] for a plan whose numbers are out of range.
pub(crate) fn judge(known: &Known<'_>, sizes: Mismatched, looks: &mut Looks) -> Result<Vec<Guarded>, Error> {
    let Known { plan, estimates, is_incomplete, .. } = known;
    let metrics = plan.guardrails.iter().filter(|rule| rule.metric != Of::SampleRatio).count();
    let shares = metrics * plan.groups.len().saturating_sub(1);
    let (alpha, power) = (Alpha::new(plan.alpha / shares.max(1) as f64)?, Power::new(plan.power)?);
    let control = plan.groups.get(plan.control).map(|group| group.group_id.as_str()).unwrap_or_default();
    let mut all = Vec::new();
    for rule in &plan.guardrails {
        let Of::Metric(metric) = rule.metric else {
            let verdict = if sizes.found { Said::Harm } else { Said::Open };
            all.push(Guarded { verdict, p_value: Some(sizes.p_value), ..Guarded::open(rule, None) });
            continue;
        };
        let known = estimates.iter().find(|of| of.metric == metric);
        let name = format!("guardrail/{}", metric.as_str());
        let anytime = known.and_then(|of| looks.rule(&name, alpha, power, plan.effect * of.control.value()));
        for (at, group) in plan.groups.iter().enumerate().filter(|(at, _)| *at != plan.control) {
            let of = format!("{}/{}/{control}", metric.as_str(), group.group_id);
            let mut guarded = Guarded::open(rule, Some(&group.group_id));
            let comparison = known.and_then(|of| of.others.iter().find(|(group, ..)| *group == at));
            if let Some(before) = looks.harm(&of) {
                (guarded.verdict, guarded.lift_bounds) = (Said::Harm, before.lift_bounds);
            } else if *is_incomplete {
                guarded.missing = Some("what is known of its begin is kept no more".to_owned());
            } else if let (Some((_, comparison, _)), Some(anytime)) = (comparison, &anytime) {
                guarded.look(metric, comparison, anytime);
            } else {
                guarded.missing = Some("nothing is known of it yet".to_owned());
            }
            if let Some(by) = guarded.harm() {
                looks.set_harm(of, by);
            }
            all.push(guarded);
        }
    }
    Ok(all)
}

impl Guarded {
    /// Against a control that is worse by the margin already, no margin is left.
    fn look(&mut self, metric: Metric, comparison: &Comparison, rule: &Anytime) {
        let (better, worst) =
            if metric.less_is_better() { (Better::Less, self.margin) } else { (Better::More, -self.margin) };
        let judged = Guardrail::new(better, 0.0).and_then(|guardrail| {
            let against = comparison.against(worst)?;
            let judgement = guardrail.judge(&against, rule)?;
            Ok((judgement, comparison.control().value()))
        });
        match judged {
            Ok((judgement, control)) => {
                self.verdict = match judgement.verdict {
                    Verdict::Harm => Said::Harm,
                    Verdict::Safe => Said::Safe,
                    Verdict::Open => Said::Open,
                };
                let lift = |end: f64| end / control + worst;
                self.lift_bounds = (control > 0.0).then(|| [lift(judgement.bounds.low), lift(judgement.bounds.high)]);
            }
            Err(error) => self.missing = Some(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;

//! An interleaved request: the treatment's ranking is made beside the control's, and both
//! [`draft`] the slate.

use funnelweb_guest::{
    dispatch::{StageReport, StageStatus},
    types::{Candidates, Handle, RequestContext},
};

use crate::{
    capabilities::{Capabilities, Stages},
    draft::{Drafted, draft},
    explain::Trace,
    funnel::{Call, Exclusions, Found, Needs, find, order},
    plan::{Chosen, Plan},
};

/// An interleaving that a request is in.
pub(crate) struct Contest<'a> {
    experiment_id: &'a str,
    treatment: &'a Plan,
    /// Whether both rank the same candidates with the same features.
    shares_table: bool,
}

/// What the treatment came to.
pub(crate) struct Rival {
    ranked: Candidates,
    trace: Trace,
}

impl<'a> Contest<'a> {
    /// The one that the user is in, if any. Where both rankings are of one table, `needs` are
    /// what either needs of it from now on.
    pub(crate) fn of(
        host: &impl Capabilities,
        chosen: &'a Chosen,
        exclude: &Exclusions,
        needs: &mut Needs,
        trace: &mut Trace,
    ) -> Option<Self> {
        let rival = chosen.rival.as_ref()?;
        let experiment_id = rival.experiment_id.as_str();
        match &rival.plan {
            Ok(treatment) => {
                let of_treatment = Needs::of(host, treatment, exclude);
                // A pinned item is a candidate of whose rules ask for it only.
                let shares_table = chosen.plan.finds_as(treatment) && needs.pinned == of_treatment.pinned;
                if shares_table {
                    needs.add(of_treatment.columns);
                }
                Some(Self { experiment_id, treatment, shares_table })
            }
            Err(fault) => {
                trace.without_experiments(&format!("`{experiment_id}` is not interleaved: {fault}"));
                None
            }
        }
    }

    /// Whether both rankings are of one feature table.
    pub(crate) fn shares_table(&self) -> bool {
        self.shares_table
    }

    /// The treatment's ranking: of what the control `found`, where that is the same.
    pub(crate) fn rival(
        &self,
        host: &impl Capabilities,
        stages: &impl Stages,
        exclude: &Exclusions,
        context: &RequestContext,
        found: &Found,
    ) -> Rival {
        let mut trace = Trace::new(false);
        let ranked = if self.shares_table {
            order(stages, found.candidates.clone(), self.treatment, &mut trace)
        } else {
            let stages = host.stages(context, &self.treatment.allowance);
            let needs = Needs::of(host, self.treatment, exclude);
            let found = find(&stages, &exclude.all, self.treatment, &needs, &mut trace);
            order(&stages, found.candidates, self.treatment, &mut trace)
        };
        Rival { ranked, trace }
    }

    /// What both draft. None, and the slate is the control's, where a stage of either did not do
    /// its part: a ranking without it is not the one that is compared.
    pub(crate) fn draft(
        &self,
        control: &Candidates,
        rival: Rival,
        found: &Found,
        call: &Call<'_>,
        trace: &mut Trace,
    ) -> Option<Drafted> {
        // What recall did for both alike is no difference between them.
        let common = if self.shares_table { found.recalled.len() } else { 0 };
        let of_control = failed(trace.reports().get(common..).unwrap_or_default());
        let failed = of_control.or_else(|| failed(rival.trace.reports())).map(str::to_owned);
        trace.beside(rival.trace);
        if let Some(stage) = failed {
            let id = self.experiment_id;
            trace.without_experiments(&format!("`{id}` is not interleaved: the stage `{stage}` did not do its part"));
            return None;
        }
        trace.contested(control, &rival.ranked);
        Some(draft(self.experiment_id, control, &rival.ranked, call.seed, call.user_id))
    }

    /// Of an item that was drafted, the plan by which it was found.
    pub(crate) fn plan_of<'b>(&self, drafted: &Drafted, handle: Handle, control: &'b Plan) -> &'b Plan
    where
        'a: 'b,
    {
        if drafted.is_treatments(handle) { self.treatment } else { control }
    }
}

/// The first stage that did not do its part.
fn failed(reports: &[StageReport]) -> Option<&str> {
    let mut failed = reports.iter().filter(|report| report.status != StageStatus::Ok);
    failed.next().map(|report| report.stage.as_str())
}

#[cfg(test)]
mod tests;

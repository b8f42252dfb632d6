//! What is counted of an experiment's users, and what is said of it, by its type.

use bincode::{Decode, Encode};
use funnelweb_core::{
    experiment::{Design, Experiment, Group, StoppedBy},
    handles::HandleSet,
};
use funnelweb_experiment_report::{
    Act, DraftLooks, Drafts, GroupPlan, History, Lifted, Looks, Plan, Preferences, Rankings, Report, Shared, Team,
    Users,
};
use funnelweb_exposure_log::Slate;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// What users were shown and did, which is kept from one report to the next.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub(super) enum Counted {
    /// Of groups that they are split into.
    Split(Users),
    /// Of slates that two rankings drafted.
    Interleaved(Drafts),
}

impl Counted {
    /// Takes a slate of a group, or one that its rankings drafted.
    pub(super) fn shown(&mut self, experiment_id: &str, group: usize, slate: &Slate) {
        match self {
            Self::Split(users) => {
                let items = u32::try_from(slate.items.len()).unwrap_or(u32::MAX);
                users.shown(&slate.user_id, group, slate.shown_at_ms, items);
                // Of one that was logged before it was measured, nothing is known.
                if slate.elapsed_us > 0 {
                    users.took(&slate.user_id, group, slate.elapsed_us, slate.cost_us);
                }
            }
            Self::Interleaved(drafts) => {
                let Some(draft) = slate.drafted.iter().find(|draft| draft.experiment == experiment_id) else { return };
                let team = |team: &u8| match team {
                    1 => Team::Control,
                    2 => Team::Treatment,
                    _ => Team::Nobody,
                };
                let items = slate.items.iter().map(|item| item.item_id.as_str());
                drafts.shown(&slate.user_id, slate.shown_at_ms, items.zip(draft.teams.iter().map(team)));
            }
        }
    }

    /// Takes what a user did.
    pub(super) fn did(&mut self, user_id: &str, item_id: &str, at_ms: u64, act: &Act<'_>) {
        match self {
            Self::Split(users) => users.did(user_id, at_ms, act),
            Self::Interleaved(drafts) => drafts.did(user_id, item_id, at_ms, act),
        }
    }

    /// Forgets users, by their handles.
    pub(super) fn forget(&mut self, users: &HandleSet) {
        match self {
            Self::Split(known) => known.forget(users.iter().copied()),
            Self::Interleaved(drafts) => drafts.forget(users),
        }
    }

    /// Says that slates of it are kept no more that were not taken.
    pub(super) fn lose_begin(&mut self) {
        match self {
            Self::Split(users) => users.lose_begin(),
            Self::Interleaved(drafts) => drafts.lose_begin(),
        }
    }
}

/// How what is counted is read, with what of looks before makes it valid to look again.
pub(super) enum Reading {
    /// Groups are compared.
    Split { plan: Plan, looks: Looks, history: History<Lifted> },
    /// Votes are counted.
    Interleaved { rankings: Rankings, looks: DraftLooks, history: History<Shared> },
}

/// A report, and what the next one needs of it, as text: names of groups are no names of fields.
pub(super) struct Made {
    pub(super) report: Value,
    pub(super) looks: String,
    pub(super) history: String,
    /// What the experiment harms, if it does.
    pub(super) harm: Option<StoppedBy>,
}

impl Reading {
    /// With what the last report left, if there was one.
    pub(super) fn new(experiment: &Experiment, looks: Option<&str>, history: Option<&str>) -> Result<Self, String> {
        let control = experiment.control().ok_or("it has no groups")?.group_id.clone();
        if experiment.design == Design::Interleaving {
            let mut others = experiment.groups.iter().map(|group| &group.group_id);
            let treatment = others.find(|id| **id != control).ok_or("it has no treatment")?.clone();
            let rankings = Rankings::of(control, treatment);
            return Ok(Self::Interleaved { rankings, looks: read(looks), history: read(history) });
        }
        let group = |group: &Group| GroupPlan { group_id: group.group_id.clone(), traffic_ratio: group.ratio() };
        let plan = Plan {
            control: experiment.groups.iter().position(|group| group.group_id == control).unwrap_or(0),
            groups: experiment.groups.iter().map(group).collect(),
            guardrails: experiment.guardrails.clone(),
            ..Plan::default()
        };
        Ok(Self::Split { plan, looks: read(looks), history: read(history) })
    }

    /// What is counted, of nobody yet.
    pub(super) fn begin(&self) -> Result<Counted, String> {
        match self {
            Self::Split { plan, .. } => Users::new(plan).map(Counted::Split).map_err(|error| error.to_string()),
            Self::Interleaved { .. } => Ok(Counted::Interleaved(Drafts::default())),
        }
    }

    /// What is to be said at a time, after so many days.
    pub(super) fn report(&mut self, counted: &Counted, at_ms: u64, days: f64) -> Result<Made, String> {
        match (self, counted) {
            (Self::Split { plan, looks, history }, Counted::Split(users)) => {
                let report = Report::new(plan, users, days, looks).map_err(|error| error.to_string())?;
                history.add(at_ms, &report);
                let harm = report.guardrails.iter().find_map(|guarded| guarded.harm());
                made(&report, looks, history, harm)
            }
            (Self::Interleaved { rankings, looks, history }, Counted::Interleaved(drafts)) => {
                let report = Preferences::new(rankings, drafts, days, looks).map_err(|error| error.to_string())?;
                history.add(at_ms, &report);
                made(&report, looks, history, None)
            }
            _ => Err("what is kept of it is of another type".to_owned()),
        }
    }
}

fn read<T: DeserializeOwned + Default>(kept: Option<&str>) -> T {
    kept.and_then(|kept| serde_json::from_str(kept).ok()).unwrap_or_default()
}

fn made(
    report: &impl Serialize,
    looks: &impl Serialize,
    history: &impl Serialize,
    harm: Option<StoppedBy>,
) -> Result<Made, String> {
    let unwritable = |error: serde_json::Error| error.to_string();
    Ok(Made {
        report: serde_json::to_value(report).map_err(unwritable)?,
        looks: serde_json::to_string(looks).map_err(unwritable)?,
        history: serde_json::to_string(history).map_err(unwritable)?,
        harm,
    })
}

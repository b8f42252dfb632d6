//! What is new in the logs: who was shown a slate of which group, and what users did.

use funnelweb_core::{handles::HandleSet, limits};
use funnelweb_experiment_report::Act;
use funnelweb_factor_events::effects::Details;
use funnelweb_jobs::work::{Failure, Task};

use super::{
    Reports,
    case::Case,
    states::{State, deleted_user},
};

/// How far the logs are read by a run.
#[derive(Clone, Copy)]
pub(super) struct Ends {
    pub(super) behaviors: u64,
    pub(super) slates: u64,
}

/// A run.
pub(super) struct Run<'a> {
    pub(super) task: &'a Task,
    pub(super) ends: Ends,
    /// Users who were deleted, by their handles.
    pub(super) deleted: HandleSet,
    pub(super) now_ms: u64,
}

impl Reports {
    /// What is known of an experiment's users, with what is new in the logs.
    pub(super) async fn follow(&self, run: &Run<'_>, case: &Case) -> Result<State, Failure> {
        let Run { task, ends, deleted, now_ms } = run;
        let kept = self.states.load(&task.tenant, case).await?;
        let is_new = kept.is_none();
        let mut state = match kept {
            Some(kept) => kept,
            None => State::new(case)?,
        };
        state.forget(deleted);
        let has_lost = self.has_lost(task, &mut state, *now_ms).await?;
        self.slates(task, case, &mut state, ends.slates).await?;
        self.behaviors(task, case, &mut state, ends.behaviors).await?;
        // A report was made that what is kept does not know of, and its first slates have gone.
        let is_older = |known: u64| state.first_ms.is_none_or(|first| first > known);
        if has_lost || is_new && case.known_first_ms.is_some_and(is_older) {
            state.counted.lose_begin();
        }
        state.read_to(ends.slates, *now_ms);
        self.states.save(&task.tenant, case, task.token, &state).await?;
        Ok(state)
    }

    /// Whether slates may have gone before they were read: they are kept for so long, and so many.
    async fn has_lost(&self, task: &Task, state: &mut State, now_ms: u64) -> Result<bool, Failure> {
        let (marks_are_old, is_late) = state.ages(now_ms);
        if is_late || marks_are_old || !self.are_gone(task, state).await? {
            return Ok(is_late);
        }
        // Or they are of users who were deleted since the run began.
        let deleted = self.states.deleted(&task.tenant, &task.scenario_id).await?;
        state.forget(&deleted.iter().filter_map(deleted_user).collect());
        self.are_gone(task, state).await
    }

    /// Whether all slates that are marked have gone, as far as there are any.
    async fn are_gone(&self, task: &Task, state: &State) -> Result<bool, Failure> {
        let Some((first, last)) = state.marked() else { return Ok(false) };
        let page = self.exposures.read(&task.tenant, &task.scenario_id, Some(first.saturating_sub(1)), 1).await?;
        Ok(page.positions.first().is_none_or(|position| *position > last))
    }

    /// Who was shown a slate of which group.
    async fn slates(&self, task: &Task, case: &Case, state: &mut State, end: u64) -> Result<(), Failure> {
        let places = case.places();
        let mut after = Some(state.slates);
        while after.is_some_and(|after| after < end) {
            task.go_on()?;
            let page = self.exposures.read(&task.tenant, &task.scenario_id, after, limits::LOGGED_SLATES).await?;
            for (slate, position) in page.slates.iter().zip(&page.positions) {
                if *position > end {
                    return Ok(());
                }
                state.mark(*position, slate);
                if !case.is_at(slate.shown_at_ms) {
                    continue;
                }
                for group in slate.groups.iter().filter_map(|group| places.get(group)) {
                    state.counted.shown(case.id(), *group, slate);
                    let first_ms = state.first_ms.map_or(slate.shown_at_ms, |first| first.min(slate.shown_at_ms));
                    state.first_ms = Some(first_ms);
                }
            }
            after = page.next;
        }
        Ok(())
    }

    /// What users did.
    async fn behaviors(&self, task: &Task, case: &Case, state: &mut State, end: u64) -> Result<(), Failure> {
        while state.behaviors <= end {
            task.go_on()?;
            let page = self.events.read(&task.tenant, state.behaviors, limits::HISTORY_EVENTS).await?;
            // There may be more, which are on their way: they are read the next time.
            let Some(last) = page.last().map(|stored| stored.offset) else { return Ok(()) };
            for stored in page.iter().filter(|stored| stored.offset <= end) {
                let event = &stored.event;
                if event.scenario_id != task.scenario_id || !case.is_at(event.timestamp_ms) {
                    continue;
                }
                let details = Details::of(&event.body);
                let act =
                    Act { action_type: &event.action_type, watch_s: details.watch_duration, revenue: details.revenue };
                state.counted.did(&event.user_id, &event.item_id, event.timestamp_ms, &act);
            }
            state.behaviors = last.min(end) + 1;
        }
        Ok(())
    }
}

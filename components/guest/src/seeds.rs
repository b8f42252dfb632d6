//! The items that a collaborative channel starts from: what the user acted on,
//! and what they look at now.

use funnelweb_core::id;

use crate::{
    handles::HandleSet,
    types::{Handle, RequestContext},
};

/// The attribute of a request's `context` that names what the user looks at.
pub const CONTEXT_ITEM: &str = "item_id";

/// An item to start from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seed {
    /// The item.
    pub handle: Handle,
    /// How much it counts: the weight of the action times the decay of its place;
    /// above 0.
    pub weight: f32,
}

/// At most `most` seeds, newest first, each item once: the items of the context's
/// [`CONTEXT_ITEM`], which count as much as the user's weightiest action (1 for a
/// user without any), then what the user acted on. The weight of place `p`, from
/// 0, is multiplied by `decay` to the power of `p`.
///
/// A stage must ask for [`Personal::RECENT`](crate::types::Personal::RECENT) and,
/// for the context, [`Personal::SITUATION`](crate::types::Personal::SITUATION).
#[must_use]
pub fn of_request(context: &RequestContext, most: usize, decay: f32) -> Vec<Seed> {
    let user = &context.user;
    let acted = || user.recent.iter().copied().zip(user.recent_weights.iter().copied());
    let weightiest = acted().map(|(_, weight)| weight).fold(0.0, f32::max);
    let looked = if weightiest > 0.0 { weightiest } else { 1.0 };
    let mut known = HandleSet::default();
    let mut share = 1.0;
    context_items(context)
        .map(|handle| (handle, looked))
        .chain(acted())
        .filter(|(handle, weight)| *weight > 0.0 && known.insert(*handle))
        .take(most)
        .map(|(handle, weight)| {
            let seed = Seed { handle, weight: (weight * share).max(f32::MIN_POSITIVE) };
            share *= decay;
            seed
        })
        .collect()
}

/// What the user acted on or looks at, and `exclude`: not to be offered.
#[must_use]
pub fn hidden(context: &RequestContext, exclude: &[Handle]) -> HandleSet {
    exclude.iter().chain(&context.user.recent).copied().chain(context_items(context)).collect()
}

fn context_items(context: &RequestContext) -> impl Iterator<Item = Handle> {
    let items = context.context.iter().filter(|attribute| attribute.name == CONTEXT_ITEM);
    items.flat_map(|attribute| attribute.values.iter().map(|item| id::handle(item)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{attribute, context};

    fn of(recent: &[(Handle, f32)], looked: &[&str], most: usize, decay: f32) -> Vec<(Handle, f32)> {
        let mut context = context();
        (context.user.recent, context.user.recent_weights) = recent.iter().copied().unzip();
        context.context = vec![attribute("city", &["x"]), attribute(CONTEXT_ITEM, looked)];
        of_request(&context, most, decay).into_iter().map(|seed| (seed.handle, seed.weight)).collect()
    }

    #[test]
    fn newest_first_and_fading() {
        assert_eq!(of(&[(1, 2.0), (2, 8.0), (3, 4.0)], &[], 2, 0.5), [(1, 2.0), (2, 4.0)]);
        assert_eq!(of(&[(1, 2.0), (1, 8.0), (3, 0.0), (4, 1.0)], &[], 9, 1.0), [(1, 2.0), (4, 1.0)]);
        assert!(of(&[], &[], 9, 1.0).is_empty());
        assert!(of(&[(1, 1e-30), (2, 1e-30)], &[], 9, 1e-20).iter().all(|(_, weight)| *weight > 0.0));
    }

    #[test]
    fn what_is_looked_at_comes_first() {
        let (a, b) = (id::handle("a"), id::handle("b"));
        assert_eq!(of(&[(1, 2.0), (2, 8.0)], &["a"], 9, 0.5), [(a, 8.0), (1, 1.0), (2, 2.0)]);
        assert_eq!(of(&[], &["a", "b", "a"], 9, 1.0), [(a, 1.0), (b, 1.0)]);
    }

    #[test]
    fn nothing_known_is_offered() {
        let mut context = context();
        context.user.recent = vec![1];
        context.context = vec![attribute(CONTEXT_ITEM, &["a"])];
        assert_eq!(hidden(&context, &[7]), [1, 7, id::handle("a")].into_iter().collect());
    }
}

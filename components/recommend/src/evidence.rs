//! What recall channels said of the candidates, as columns: the derived features
//! `recall:C:score` and `recall:C:rank`.

use funnelweb_core::derived::Derived;
use funnelweb_guest::{
    dispatch::RecallOutcome,
    handles::HandleMap,
    types::{Candidates, NumericColumns},
};

/// Whether a derived feature is known here; the others are the feature stage's.
pub(crate) fn is_known(name: &str) -> bool {
    Derived::parse(name).is_some_and(|derived| derived.channel().is_some())
}

/// The columns `names` of the candidates; NaN where a channel did not offer one.
pub(crate) fn of(names: &[String], outcomes: &[RecallOutcome], candidates: &Candidates) -> NumericColumns {
    let width = names.len();
    let mut cells = vec![f32::NAN; width * candidates.handles.len()];
    if width > 0 {
        let rows: HandleMap<usize> = candidates.handles.iter().copied().zip(0..).collect();
        for (at, name) in names.iter().enumerate() {
            let Some(derived) = Derived::parse(name) else { continue };
            // A channel that is configured twice counts where it comes first.
            let mut channels =
                outcomes.iter().filter(|outcome| Some(outcome.report.stage.as_str()) == derived.channel());
            let Some(outcome) = channels.next() else { continue };
            for (place, (handle, score)) in outcome.handles.iter().zip(&outcome.scores).enumerate() {
                let said = match derived {
                    Derived::ChannelScore(_) => *score,
                    _ => 1.0 / (1.0 + place as f32),
                };
                if let Some(cell) = rows.get(handle).and_then(|row| cells.get_mut(row * width + at)) {
                    *cell = said;
                }
            }
        }
    }
    NumericColumns { names: names.to_vec(), cells }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fusion::tests::scored;

    #[test]
    fn each_channel_tells_what_it_offered() {
        let mut channels = [scored(&[(2, 0.5), (1, 0.25)]), scored(&[(3, 9.0)])];
        for (channel, name) in channels.iter_mut().zip(["hot_items", "user_cf"]) {
            channel.report.stage = name.to_owned();
        }
        let candidates = Candidates { handles: vec![1, 2, 3, 4], scores: vec![0.0; 4], sources: vec![0; 4] };
        let names = ["recall:hot_items:rank", "recall:user_cf:score", "recall:gone:score"].map(str::to_owned);
        let columns = of(&names, &channels, &candidates);
        let nan = f32::NAN;
        let expected = [0.5, nan, nan, 1.0, nan, nan, nan, 9.0, nan, nan, nan, nan];
        assert_eq!(columns.cells.len(), expected.len());
        let same = columns.cells.iter().zip(expected).all(|(cell, other)| cell.to_bits() == other.to_bits());
        assert!(same, "{:?}", columns.cells);
        assert!(of(&[], &channels, &candidates).cells.is_empty());
    }

    #[test]
    fn only_what_channels_say_is_known() {
        assert!(is_known("recall:hot_items:rank") && is_known("recall:a:b:score"));
        assert!(!is_known("recall:score") && !is_known("tags:overlap"));
    }
}

//! A stream operator: counts how often an item is consumed to its end, as the item's
//! counter `finished_count`.

/// What counts as the end.
const END: f64 = 0.95;

/// How many of these parts of an item, where 1 is all of it, reach the end.
fn finished(parts: impl Iterator<Item = f64>) -> u64 {
    parts.filter(|part| *part >= END).count() as u64
}

/// An accumulator is a count.
fn write(count: u64) -> Vec<u8> {
    count.to_le_bytes().to_vec()
}

fn read(accumulator: &[u8]) -> Result<u64, String> {
    let bytes = accumulator.try_into().map_err(|_| format!("an accumulator of {} bytes", accumulator.len()))?;
    Ok(u64::from_le_bytes(bytes))
}

// --- the component: from batches to the functions above, and back ---

wit_bindgen::generate!({ world: "aggregate", path: "wit", generate_all });

use exports::funnelweb::stream::aggregate::{
    Aggregated, Batch, Change, Count, Declaration, Field, Guest, Output, Window,
};

const MINUTE_MS: u64 = 60_000;

struct Component;

impl Guest for Component {
    fn declare() -> Declaration {
        Declaration {
            key: vec![Field::Item],
            window: Window { size_ms: MINUTE_MS, slide_ms: MINUTE_MS },
            allowed_lateness_ms: 5 * MINUTE_MS,
        }
    }

    fn aggregate(batches: Vec<Batch>) -> Result<Vec<Vec<u8>>, String> {
        let parts = |batch: &Batch| finished(batch.events.iter().filter_map(|event| event.completion_rate));
        Ok(batches.iter().map(|batch| write(parts(batch))).collect())
    }

    fn merge(parts: Vec<Vec<Vec<u8>>>) -> Result<Vec<Vec<u8>>, String> {
        let sum = |parts: &Vec<Vec<u8>>| parts.iter().map(|part| read(part)).sum::<Result<u64, String>>();
        parts.iter().map(|parts| sum(parts).map(write)).collect()
    }

    fn changes(panes: Vec<Aggregated>) -> Result<Vec<Vec<Change>>, String> {
        panes.into_iter().map(changes).collect()
    }

    fn summary(windows: Vec<Aggregated>) -> Result<Vec<Vec<Output>>, String> {
        Ok(windows.iter().map(|_| Vec::new()).collect())
    }
}

fn changes(pane: Aggregated) -> Result<Vec<Change>, String> {
    let amount = read(&pane.accumulator)? as f64;
    let count = |item_id| Change::Count(Count { item_id, field: "finished_count".to_owned(), amount });
    Ok(if amount > 0.0 { pane.key.into_iter().map(count).collect() } else { Vec::new() })
}

export!(Component);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_counts_and_what_comes_before_does_not() {
        assert_eq!(finished([0.2, 0.95, 1.0, 3.0].into_iter()), 3);
    }

    #[test]
    fn an_accumulator_is_read_as_it_was_written() {
        assert_eq!(read(&write(7)), Ok(7));
        assert!(read(&[1]).is_err());
    }
}

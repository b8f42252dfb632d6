//! An operator for tests: it counts.

use async_trait::async_trait;

use crate::operator::{
    Aggregated, Batch, Change, Declaration, Failure, Field, Message, Metric, Operator, Output, Topic, Window,
};

/// Counts events by item: in the counter `seen_total`, by item and operator, and of each
/// window as a message `{"by":<operator>,"end":<ms>,"count":<n>}` with the item as its key.
pub struct Counting {
    name: &'static str,
    declaration: Declaration,
    broken: bool,
}

impl Counting {
    /// In windows that stand side by side.
    #[must_use]
    pub fn new(name: &'static str, size_ms: u64, allowed_lateness_ms: u64) -> Self {
        let window = Window { size_ms, slide_ms: size_ms };
        Self { name, declaration: Declaration { key: vec![Field::Item], window, allowed_lateness_ms }, broken: false }
    }

    /// One that fails whatever it is given.
    #[must_use]
    pub fn broken(self) -> Self {
        Self { broken: true, ..self }
    }
}

fn count(accumulator: &[u8]) -> Result<u64, Failure> {
    let bytes = accumulator.try_into().map_err(|_| Failure::guest("no accumulator of this operator"))?;
    Ok(u64::from_be_bytes(bytes))
}

#[async_trait]
impl Operator for Counting {
    fn name(&self) -> &str {
        self.name
    }

    fn declaration(&self) -> &Declaration {
        &self.declaration
    }

    async fn aggregate(&self, batches: &[Batch]) -> Result<Vec<Vec<u8>>, Failure> {
        if self.broken {
            return Err(Failure::guest("broken"));
        }
        Ok(batches.iter().map(|batch| (batch.events.len() as u64).to_be_bytes().to_vec()).collect())
    }

    async fn merge(&self, panes: &[Vec<Vec<u8>>]) -> Result<Vec<Vec<u8>>, Failure> {
        let sum = |panes: &Vec<Vec<u8>>| {
            let counts = panes.iter().map(|pane| count(pane)).collect::<Result<Vec<u64>, _>>()?;
            Ok(counts.iter().sum::<u64>().to_be_bytes().to_vec())
        };
        panes.iter().map(sum).collect()
    }

    async fn changes(&self, panes: &[Aggregated]) -> Result<Vec<Vec<Change>>, Failure> {
        let metric = |pane: &Aggregated| {
            let labels = [("item", pane.key[0].as_str()), ("operator", self.name)];
            let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
            let amount = count(&pane.accumulator)? as f64;
            Ok(vec![Change::Metric(Metric { name: "seen_total".to_owned(), labels, amount })])
        };
        panes.iter().map(metric).collect()
    }

    async fn summary(&self, windows: &[Aggregated]) -> Result<Vec<Vec<Output>>, Failure> {
        let one = |window: &Aggregated| {
            let (end, count) = (window.span.to_ms, count(&window.accumulator)?);
            let body = format!(r#"{{"by":"{}","end":{end},"count":{count}}}"#, self.name);
            Ok(vec![Output::Publish(Message { topic: Topic::RecommendationMetrics, key: window.key[0].clone(), body })])
        };
        windows.iter().map(one).collect()
    }
}

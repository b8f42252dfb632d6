//! What stores give as records, and back.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use funnelweb_factor_documents::store::{Document, Key};
use funnelweb_factor_events::store::{Event, StoredEvent};
use funnelweb_factor_key_value::store::KeyValue;
use funnelweb_factor_live::store::{Counters, Exposed, Whole};
use serde_json::Value;

use crate::format::{DocumentRecord, EventRecord, ExposedRecord, HotRecord, KeyValueRecord, Kind, StatsRecord};

/// A record of any kind.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Record {
    Document(Kind, DocumentRecord),
    Event(EventRecord),
    Hot(HotRecord),
    Exposed(ExposedRecord),
    Stats(StatsRecord),
    KeyValue(KeyValueRecord),
}

impl Record {
    /// Reads the record of a line.
    pub(crate) fn parse(kind: Kind, text: &str) -> serde_json::Result<Option<Self>> {
        Ok(Some(match kind {
            Kind::Header | Kind::End => return Ok(None),
            Kind::Scenarios
            | Kind::Items
            | Kind::UserProfiles
            | Kind::ModelConfigs
            | Kind::Experiments
            | Kind::Components => Self::Document(kind, serde_json::from_str(text)?),
            Kind::Interactions => Self::Event(serde_json::from_str(text)?),
            Kind::HotItems => Self::Hot(serde_json::from_str(text)?),
            Kind::Exposed => Self::Exposed(serde_json::from_str(text)?),
            Kind::ItemStats => Self::Stats(serde_json::from_str(text)?),
            Kind::KeyValues => Self::KeyValue(serde_json::from_str(text)?),
        }))
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Document(kind, _) => *kind,
            Self::Event(_) => Kind::Interactions,
            Self::Hot(_) => Kind::HotItems,
            Self::Exposed(_) => Kind::Exposed,
            Self::Stats(_) => Kind::ItemStats,
            Self::KeyValue(_) => Kind::KeyValues,
        }
    }

    /// The text of the record: the same for what is the same.
    pub(crate) fn text(&self) -> serde_json::Result<String> {
        match self {
            Self::Document(_, record) => serde_json::to_string(record),
            Self::Event(record) => serde_json::to_string(record),
            Self::Hot(record) => serde_json::to_string(record),
            Self::Exposed(record) => serde_json::to_string(record),
            Self::Stats(record) => serde_json::to_string(record),
            Self::KeyValue(record) => serde_json::to_string(record),
        }
    }

    /// Without what users were shown that expires by `at_ms`; none when nothing is
    /// left. Such things go while one looks, so they are no difference.
    pub(crate) fn alive(self, at_ms: u64) -> Option<Self> {
        match self {
            Self::Exposed(mut record) => {
                record.items.retain(|(_, expires_ms)| *expires_ms > at_ms);
                (!record.items.is_empty()).then_some(Self::Exposed(record))
            }
            other => Some(other),
        }
    }

    pub(crate) fn of_document(kind: Kind, document: Document) -> serde_json::Result<Self> {
        let Document { key: Key { scenario_id, id }, body, version } = document;
        Ok(Self::Document(kind, DocumentRecord { scenario_id, id, version, body: serde_json::from_str(&body)? }))
    }

    pub(crate) fn of_event(stored: StoredEvent) -> serde_json::Result<Self> {
        let StoredEvent { offset, event } = stored;
        let Event { event_id, scenario_id, user_id, item_id, action_type, timestamp_ms, body, signal } = event;
        // As one that is read once more: an event's text is the sender's own.
        let body: Value = serde_json::from_str(&body)?;
        Ok(Self::Event(EventRecord {
            offset,
            event_id,
            scenario_id,
            user_id,
            item_id,
            action_type,
            timestamp_ms,
            body,
            signal,
        }))
    }

    /// A record for each item of a hot list, one for anything else.
    pub(crate) fn of_whole(whole: Whole) -> Vec<Self> {
        match whole {
            Whole::Hot(hot) => {
                let record = |(item_id, score)| HotRecord {
                    scenario_id: hot.scenario_id.clone(),
                    half_life_s: hot.half_life_s,
                    newest_ms: hot.newest_ms,
                    item_id,
                    score,
                };
                hot.items.into_iter().map(|item| Self::Hot(record(item))).collect()
            }
            Whole::Exposed(Exposed { scenario_id, user_id, items }) => {
                vec![Self::Exposed(ExposedRecord { scenario_id, user_id, items: items.into_iter().collect() })]
            }
            Whole::Counters(Counters { item_id, fields }) => vec![Self::Stats(StatsRecord { item_id, fields })],
        }
    }

    pub(crate) fn of_value(value: KeyValue) -> Self {
        let KeyValue { label, key, value } = value;
        Self::KeyValue(KeyValueRecord { label, key, value: BASE64.encode(value) })
    }
}

impl From<DocumentRecord> for Document {
    fn from(record: DocumentRecord) -> Self {
        let DocumentRecord { scenario_id, id, version, body } = record;
        Self { key: Key { scenario_id, id }, body: body.to_string(), version }
    }
}

impl From<EventRecord> for StoredEvent {
    fn from(record: EventRecord) -> Self {
        let EventRecord { offset, event_id, scenario_id, user_id, item_id, action_type, timestamp_ms, body, signal } =
            record;
        let body = body.to_string();
        Self {
            offset,
            event: Event { event_id, scenario_id, user_id, item_id, action_type, timestamp_ms, body, signal },
        }
    }
}

impl From<ExposedRecord> for Whole {
    fn from(record: ExposedRecord) -> Self {
        let ExposedRecord { scenario_id, user_id, items } = record;
        Self::Exposed(Exposed { scenario_id, user_id, items: items.into_iter().collect() })
    }
}

impl From<StatsRecord> for Whole {
    fn from(record: StatsRecord) -> Self {
        let StatsRecord { item_id, fields } = record;
        Self::Counters(Counters { item_id, fields })
    }
}

/// The value of a record.
pub(crate) fn value(record: KeyValueRecord) -> Result<KeyValue, base64::DecodeError> {
    let KeyValueRecord { label, key, value } = record;
    Ok(KeyValue { label, key, value: BASE64.decode(value)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_comes_back_as_it_was() {
        let body = serde_json::json!({"n": 1.0, "u": u64::MAX, "tiny": 5e-324, "城市": ["北京", null]});
        let document = Document { key: Key::new("feed", "i"), body: body.to_string(), version: 7 };
        let record = Record::of_document(Kind::Items, document.clone()).unwrap();
        let Some(Record::Document(Kind::Items, read)) = Record::parse(Kind::Items, &record.text().unwrap()).unwrap()
        else {
            panic!("another kind");
        };
        assert_eq!(Document::from(read), document);
        let hot = Whole::Hot(funnelweb_factor_live::store::Hot {
            scenario_id: "feed".to_owned(),
            half_life_s: 60,
            newest_ms: 5,
            items: [("a".to_owned(), 0.1 + 0.2), ("b".to_owned(), -1e-300)].into(),
        });
        for record in Record::of_whole(hot) {
            assert_eq!(Record::parse(Kind::HotItems, &record.text().unwrap()).unwrap(), Some(record));
        }
        let bytes = KeyValue { label: "default".to_owned(), key: "\0é".to_owned(), value: (0..=255).collect() };
        let Record::KeyValue(record) = Record::of_value(bytes.clone()) else { panic!("another kind") };
        assert_eq!(value(record).unwrap(), bytes);
    }

    #[test]
    fn what_expires_is_left_out() {
        let items = vec![("a".to_owned(), 10), ("b".to_owned(), 20)];
        let record = || {
            Record::Exposed(ExposedRecord {
                scenario_id: "s".to_owned(),
                user_id: "u".to_owned(),
                items: items.clone(),
            })
        };
        assert_eq!(record().alive(9), Some(record()));
        assert!(record().alive(10).is_some_and(|record| record.text().unwrap().contains(r#"[["b",20]]"#)));
        assert_eq!(record().alive(20), None);
    }
}

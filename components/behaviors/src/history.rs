//! What was done by a user or with an item, newest first.

use funnelweb_core::{
    error::{ApiError, Code},
    limits,
};
use funnelweb_guest::{
    events::{self, HistoryQuery, StoredEvent},
    http::{Head, Reply},
};
use http::StatusCode;

/// `GET /api/v1/behaviors`.
pub(crate) fn list(head: &Head) -> Result<Reply, ApiError> {
    let query = query(head)?;
    let found = events::history(&query)?;
    Ok(Reply::json_text(StatusCode::OK, page(&found, query.limit)))
}

fn query(head: &Head) -> Result<HistoryQuery, ApiError> {
    let query = head.query(&["user_id", "item_id", "scenario_id", "before", "limit"])?;
    let id = |name| Ok::<_, ApiError>(query.id(name)?.map(str::to_owned));
    let (user_id, item_id) = (id("user_id")?, id("item_id")?);
    if user_id.is_none() && item_id.is_none() {
        return Err(ApiError::field(Code::InvalidParameter, "user_id", "`user_id` or `item_id` is required"));
    }
    Ok(HistoryQuery {
        user_id,
        item_id,
        scenario_id: id("scenario_id")?,
        before: query.number("before", 0..=u64::MAX)?,
        limit: query.number("limit", 1..=limits::HISTORY_EVENTS)?.unwrap_or(limits::DEFAULT_PAGE_DOCUMENTS),
    })
}

/// `{"events":[…],"next_before":…}`; the events are JSON already.
fn page(found: &[StoredEvent], limit: u32) -> String {
    let bodies: Vec<&str> = found.iter().map(|stored| stored.event.body.as_str()).collect();
    let last = found.last().filter(|_| found.len() >= limit as usize);
    let next = last.map_or_else(|| "null".to_owned(), |stored| stored.offset.to_string());
    format!("{{\"events\":[{}],\"next_before\":{next}}}", bodies.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<HistoryQuery, ApiError> {
        let request = http::Request::get(format!("/api/v1/behaviors?{text}")).body(()).unwrap();
        query(&Head::new(request.into_parts().0))
    }

    #[test]
    fn parameters_are_read_and_checked() {
        let query = read("user_id=u1&item_id=i1&scenario_id=s1&before=9&limit=5").unwrap();
        assert_eq!((query.user_id.as_deref(), query.item_id.as_deref()), (Some("u1"), Some("i1")));
        assert_eq!((query.before, query.limit), (Some(9), 5));
        for (text, name) in [
            ("", "user_id"),
            ("scenario_id=s1", "user_id"),
            ("user_id=a/b", "user_id"),
            ("item_id=", "item_id"),
            ("user_id=u&scenario_id=..", "scenario_id"),
            ("user_id=u&before=-1", "before"),
            ("user_id=u&limit=1001", "limit"),
            ("user_id=u&after=1", "after"),
        ] {
            let error = read(text).unwrap_err();
            assert_eq!((error.code, error.field.as_deref()), (Code::InvalidParameter, Some(name)), "{text}");
        }
    }

    #[test]
    fn a_full_page_has_a_next() {
        let stored = |offset: u64| StoredEvent {
            offset,
            event: events::Event {
                event_id: "e".into(),
                scenario_id: "s".into(),
                user_id: "u".into(),
                item_id: "i".into(),
                action_type: "a".into(),
                timestamp_ms: 0,
                body: format!("{{\"n\":{offset}}}"),
                signal: None,
            },
        };
        let found = [stored(9), stored(7)];
        assert_eq!(page(&found, 2), r#"{"events":[{"n":9},{"n":7}],"next_before":7}"#);
        assert_eq!(page(&found, 3), r#"{"events":[{"n":9},{"n":7}],"next_before":null}"#);
        assert_eq!(page(&[], 3), r#"{"events":[],"next_before":null}"#);
    }
}

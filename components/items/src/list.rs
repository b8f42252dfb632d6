//! Pages of the catalogue.

use funnelweb_core::{error::ApiError, limits};
use funnelweb_guest::{
    documents::{Collection, Query, Range, Sort},
    http::{Head, Reply, store},
};

/// `GET /api/v1/items/{scenario_id}`.
pub(crate) fn list(head: &Head, scenario_id: &str) -> Result<Reply, ApiError> {
    let query = query(head, scenario_id)?;
    store::scenario(scenario_id)?;
    let page = store::page(Collection::Items, &query)?;
    let documents = page.documents.iter().map(|document| document.body.as_str());
    Ok(Reply::page("items", documents, page.next.as_deref()))
}

fn query(head: &Head, scenario_id: &str) -> Result<Query, ApiError> {
    let query = head.query(&["cursor", "limit", "status", "category", "tag", "created_from", "created_to", "sort"])?;
    Ok(Query {
        scenario_id: Some(scenario_id.to_owned()),
        status: query.choice("status", &[("active", "active"), ("inactive", "inactive")])?.map(str::to_owned),
        category: query.text("category", limits::TERM_BYTES)?.map(str::to_owned),
        tag: query.text("tag", limits::TERM_BYTES)?.map(str::to_owned),
        created: Range { from_ms: query.time("created_from")?, to_ms: query.time("created_to")? },
        sort: query.choice("sort", &[("newest", Sort::Newest), ("oldest", Sort::Oldest)])?.unwrap_or(Sort::Newest),
        cursor: query.get("cursor").map(str::to_owned),
        limit: query.number("limit", 1..=limits::PAGE_DOCUMENTS)?.unwrap_or(limits::DEFAULT_PAGE_DOCUMENTS),
    })
}

#[cfg(test)]
mod tests {
    use funnelweb_core::error::Code;

    use super::*;

    fn read(text: &str) -> Result<Query, ApiError> {
        let request = http::Request::get(format!("/api/v1/items/s1?{text}")).body(()).unwrap();
        query(&Head::new(request.into_parts().0), "s1")
    }

    #[test]
    fn every_filter_is_read() {
        let query = read(
            "limit=7&status=inactive&category=a%20b&tag=t&created_from=2026-01-01&created_to=1767312000&sort=oldest",
        )
        .unwrap();
        assert_eq!((query.limit, query.status.as_deref()), (7, Some("inactive")));
        assert_eq!((query.category.as_deref(), query.tag.as_deref()), (Some("a b"), Some("t")));
        assert_eq!(query.created.from_ms, Some(1_767_225_600_000));
        assert_eq!(query.created.to_ms, Some(1_767_312_000_000));
        assert!(matches!(query.sort, Sort::Oldest));
        let plain = read("").unwrap();
        assert_eq!(plain.limit, limits::DEFAULT_PAGE_DOCUMENTS);
        assert!(matches!(plain.sort, Sort::Newest));
    }

    #[test]
    fn every_bad_parameter_is_named() {
        for (text, name) in [
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("limit=x", "limit"),
            ("status=all", "status"),
            ("category=", "category"),
            ("tag=", "tag"),
            ("created_from=soon", "created_from"),
            ("created_to=-1", "created_to"),
            ("sort=best", "sort"),
            ("page=2", "page"),
            ("limit=1&limit=2", "limit"),
        ] {
            let error = read(text).unwrap_err();
            assert_eq!((error.code, error.field.as_deref()), (Code::InvalidParameter, Some(name)), "{text}");
        }
    }
}

//! The query of a request, checked.

use std::time::SystemTime;

use funnelweb_core::{
    error::{ApiError, Code},
    id, limits,
};
use funnelweb_guest::{http::Head, types::Handle};

/// What a request asks of any list.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Asked {
    /// How many items, 1 to [`limits::COUNT`].
    pub(crate) count: u32,
    /// Which not.
    pub(crate) exclude: Vec<Handle>,
    /// Only those of this category.
    pub(crate) category: Option<String>,
    /// Whether items come with their `metadata`.
    pub(crate) metadata: bool,
    /// The request's clock, and its seed.
    pub(crate) now_ms: u64,
    pub(crate) seed: u64,
}

impl Asked {
    /// Reads the query; `category` is known to some lists.
    pub(crate) fn read(head: &Head, by_category: bool) -> Result<Self, ApiError> {
        let known = ["count", "exclude_items", "return_metadata", "category"];
        let query = head.query(known.get(..if by_category { 4 } else { 3 }).unwrap_or_default())?;
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        Ok(Self {
            count: query.number("count", 1..=limits::COUNT)?.unwrap_or(20),
            exclude: query.get("exclude_items").map_or(Ok(Vec::new()), excluded)?,
            category: query.text("category", limits::TERM_BYTES)?.map(str::to_owned),
            metadata: query.flag("return_metadata")?,
            now_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
            seed: id::handle(&head.request_id),
        })
    }
}

/// Ids with commas between them.
fn excluded(list: &str) -> Result<Vec<Handle>, ApiError> {
    let invalid = |message: String| ApiError::field(Code::InvalidParameter, "exclude_items", message);
    let items: Vec<&str> = list.split(',').filter(|item| !item.is_empty()).collect();
    if items.len() > limits::EXCLUDED_ITEMS {
        return Err(invalid(format!("`exclude_items` names at most {}, got {}", limits::EXCLUDED_ITEMS, items.len())));
    }
    let handle = |item: &&str| {
        id::check(item).map_err(|error| invalid(format!("`{item}` in `exclude_items` {error}")))?;
        Ok(id::handle(item))
    };
    items.iter().map(handle).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Asked, ApiError> {
        let request = http::Request::get(format!("/x?{query}")).header("x-request-id", "r").body(()).unwrap();
        Asked::read(&Head::new(request.into_parts().0), true)
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let asked = read("").unwrap();
        assert_eq!((asked.count, asked.exclude, asked.category, asked.metadata), (20, vec![], None, false));
        assert_eq!(asked.seed, id::handle("r"));
        let asked = read("count=200&exclude_items=a,b,&category=x&return_metadata=true").unwrap();
        assert_eq!((asked.count, asked.exclude), (200, vec![id::handle("a"), id::handle("b")]));
        assert_eq!((asked.category.as_deref(), asked.metadata), (Some("x"), true));
    }

    #[test]
    fn every_parameter_has_its_rule() {
        for (query, field) in [
            ("count=0", "count"),
            ("count=201", "count"),
            ("exclude_items=a,b%2Fc", "exclude_items"),
            ("category=", "category"),
            ("return_metadata=1", "return_metadata"),
            ("limit=3", "limit"),
        ] {
            let error = read(query).unwrap_err();
            assert_eq!((error.code, error.field.as_deref()), (Code::InvalidParameter, Some(field)), "{query}");
        }
        let many = |count: usize| read(&format!("exclude_items={}", vec!["i"; count].join(",")));
        assert_eq!(many(limits::EXCLUDED_ITEMS).unwrap().exclude.len(), limits::EXCLUDED_ITEMS);
        assert!(many(limits::EXCLUDED_ITEMS + 1).unwrap_err().message.contains("1000"));
        assert!(read(&format!("category={}", "x".repeat(limits::TERM_BYTES + 1))).is_err());
        let request = http::Request::get("/x?category=a").body(()).unwrap();
        assert!(Asked::read(&Head::new(request.into_parts().0), false).is_err(), "not known to every list");
    }
}

//! Which component answers a path.
//!
//! Patterns are Spin's: `/a/b` is that path, with or without a trailing slash;
//! `:name` stands for one segment that is not empty; `/...` at the end for
//! anything below, or nothing. Of two patterns that match, the one wins that is
//! more exact at the first segment where they differ: text before `:name` before
//! `/...`. So the longest exact beginning wins. Paths are compared byte by byte;
//! percent-encoding is left as the client wrote it, so `%2F` is never a slash.

use crate::{Manifest, Route};

/// The routes of an application.
#[derive(Debug, Clone)]
pub struct Router {
    /// Most exact first, so that the first match is the answer.
    entries: Vec<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    pattern: Pattern,
    route: String,
    component: String,
}

/// A path and the component that answers it.
#[derive(Debug, Clone, PartialEq)]
pub struct Match<'a> {
    /// The component's id.
    pub component: &'a str,
    /// The route as it stands in the manifest.
    pub route: &'a str,
    /// What `/...` stood for, from its slash on; empty for none; `None` when the
    /// route has no `/...`.
    pub trailing: Option<&'a str>,
    /// What each `:name` stood for, in order.
    pub params: Vec<(&'a str, &'a str)>,
}

impl Router {
    /// The routes of a checked manifest; private ones are left out.
    #[must_use]
    pub fn new(manifest: &Manifest) -> Self {
        let entry = |trigger: &crate::HttpTrigger| match &trigger.route {
            Route::Path(route) => {
                let pattern = Pattern::parse(route).ok()?;
                Some(Entry { pattern, route: route.clone(), component: trigger.component.clone() })
            }
            Route::Private => None,
        };
        let mut entries: Vec<_> = manifest.http.iter().filter_map(entry).collect();
        entries.sort_by_key(|entry| entry.pattern.rank());
        Self { entries }
    }

    /// The component that answers `path`, which is the path of a URL: from its
    /// first slash to before the `?`.
    #[must_use]
    pub fn find<'a>(&'a self, path: &'a str) -> Option<Match<'a>> {
        self.entries.iter().find_map(|entry| {
            let (trailing, params) = entry.pattern.matches(path)?;
            Some(Match { component: &entry.component, route: &entry.route, trailing, params })
        })
    }

    /// Every route that is answered with its component's id, most exact first.
    pub fn routes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|entry| (entry.route.as_str(), entry.component.as_str()))
    }
}

/// A route, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    segments: Vec<Segment>,
    wildcard: bool,
}

/// In the order of precedence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Text(String),
    Param(String),
}

/// What a pattern's `/...` and `:name`s stood for.
type Captures<'a> = (Option<&'a str>, Vec<(&'a str, &'a str)>);

impl Pattern {
    /// Parses a route.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub(crate) fn parse(route: &str) -> Result<Self, String> {
        let rest = route.strip_prefix('/').ok_or("a route begins with `/`")?;
        if route.starts_with("/.well-known/spin/") {
            return Err("routes below `/.well-known/spin/` are reserved".to_owned());
        }
        if route.contains("//") {
            return Err("a route has no empty segments".to_owned());
        }
        if route.contains(['?', '#']) {
            return Err("a route is a path: it has no `?` and no `#`".to_owned());
        }
        let (rest, wildcard) = match rest.strip_suffix("...") {
            Some("") => ("", true),
            Some(before) if before.ends_with('/') => (before, true),
            _ => (rest, false),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let mut segments: Vec<Segment> = Vec::new();
        for text in rest.split('/').filter(|_| !rest.is_empty()) {
            let segment = Segment::parse(text)?;
            if matches!(segment, Segment::Param(_)) && segments.contains(&segment) {
                return Err(format!("`{text}` stands in the route twice"));
            }
            segments.push(segment);
        }
        Ok(Self { segments, wildcard })
    }

    /// The route with its parameters unnamed: two routes of one shape match the
    /// same paths.
    pub(crate) fn shape(&self) -> (Vec<Option<String>>, bool) {
        let segment = |segment: &Segment| match segment {
            Segment::Text(text) => Some(text.clone()),
            Segment::Param(_) => None,
        };
        (self.segments.iter().map(segment).collect(), self.wildcard)
    }

    /// Sorts the more exact of two patterns that match one path first: they
    /// differ first where text stands against a parameter, or where one ends.
    fn rank(&self) -> Vec<u8> {
        let segment = |segment: &Segment| match segment {
            Segment::Text(_) => 0,
            Segment::Param(_) => 1,
        };
        // The end of an exact route and a wildcard both come where the other
        // pattern may go on; going on is more exact than `/...`, and an exact
        // route that ends matches no path on which another goes on.
        self.segments.iter().map(segment).chain([if self.wildcard { 3 } else { 2 }]).collect()
    }

    fn matches<'a>(&'a self, path: &'a str) -> Option<Captures<'a>> {
        let mut rest = path;
        let mut params = Vec::new();
        for segment in &self.segments {
            let after_slash = rest.strip_prefix('/')?;
            let end = after_slash.find('/').unwrap_or(after_slash.len());
            let (found, after) = after_slash.split_at_checked(end)?;
            match segment {
                Segment::Text(text) if text == found => {}
                Segment::Param(name) if !found.is_empty() => params.push((name.as_str(), found)),
                _ => return None,
            }
            rest = after;
        }
        match self.wildcard {
            true => Some((Some(rest), params)),
            false if rest.is_empty() || rest == "/" => Some((None, params)),
            false => None,
        }
    }
}

impl Segment {
    fn parse(text: &str) -> Result<Self, String> {
        if text == "..." || text.contains('*') {
            return Err(format!("`{text}` is not understood: write `/...` at the end for everything below"));
        }
        match text.strip_prefix(':') {
            None => Ok(Self::Text(text.to_owned())),
            Some(name) if !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)) => {
                Ok(Self::Param(name.to_owned()))
            }
            Some(_) => Err(format!("`{text}` is not a parameter: `:` and then letters, digits, `-` and `_`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HttpTrigger;

    fn router(routes: &[&str]) -> Router {
        let trigger = |route: &&str| HttpTrigger {
            id: String::new(),
            component: format!("at {route}"),
            route: Route::Path((*route).to_owned()),
        };
        let mut manifest = Manifest::parse(
            "spin_manifest_version = 2\n[application]\nname = \"a\"\n[trigger]\n[component]\n",
            "spin.toml",
        )
        .unwrap();
        manifest.http = routes.iter().map(trigger).collect();
        manifest.http.push(HttpTrigger { route: Route::Private, ..manifest.http[0].clone() });
        Router::new(&manifest)
    }

    /// Route, trailing part, parameters.
    type Found<'a> = (&'a str, Option<&'a str>, &'a [(&'a str, &'a str)]);

    /// Checks what each path leads to, whatever the order of the routes.
    fn check(routes: &[&str], paths: &[(&str, Option<Found<'_>>)]) {
        let mut backwards = routes.to_vec();
        backwards.reverse();
        for router in [router(routes), router(&backwards)] {
            for (path, expected) in paths {
                let found = router.find(path).map(|found| (found.route, found.trailing, found.params));
                let expected = expected.map(|(route, trailing, params)| (route, trailing, params.to_vec()));
                assert_eq!(found, expected, "{path}");
            }
        }
    }

    #[test]
    fn exact_routes() {
        check(
            &["/", "/a", "/a/b"],
            &[
                ("/", Some(("/", None, &[]))),
                ("/a", Some(("/a", None, &[]))),
                ("/a/", Some(("/a", None, &[]))),
                ("/a/b", Some(("/a/b", None, &[]))),
                ("/a//b", None),
                ("/a//", None),
                ("/a/b/c", None),
                ("/A", None),
                ("/a%2Fb", None),
                ("a", None),
                ("", Some(("/", None, &[]))),
            ],
        );
    }

    #[test]
    fn wildcards_keep_the_slash_as_spin_does() {
        check(
            &["/...", "/one/...", "/one/two/...", "/one"],
            &[
                ("/", Some(("/...", Some("/"), &[]))),
                ("/onetwo", Some(("/...", Some("/onetwo"), &[]))),
                ("/one", Some(("/one", None, &[]))),
                ("/one/", Some(("/one", None, &[]))),
                ("/one/x/", Some(("/one/...", Some("/x/"), &[]))),
                ("/one/two", Some(("/one/two/...", Some(""), &[]))),
                ("/one/two/", Some(("/one/two/...", Some("/"), &[]))),
                ("/one/two/3/4%2f?", Some(("/one/two/...", Some("/3/4%2f?"), &[]))),
                ("/one/two//3", Some(("/one/two/...", Some("//3"), &[]))),
            ],
        );
    }

    #[test]
    fn parameters_stand_between_text_and_wildcards() {
        check(
            &["/u/me", "/u/:id", "/u/:id/cart/...", "/u/...", "/:a/:b/c"],
            &[
                ("/u/me", Some(("/u/me", None, &[]))),
                ("/u/7", Some(("/u/:id", None, &[("id", "7")]))),
                ("/u/7/", Some(("/u/:id", None, &[("id", "7")]))),
                ("/u/a%2Fb", Some(("/u/:id", None, &[("id", "a%2Fb")]))),
                ("/u/", Some(("/u/...", Some("/"), &[]))),
                ("/u/7/cart", Some(("/u/:id/cart/...", Some(""), &[("id", "7")]))),
                ("/u/7/cart/x", Some(("/u/:id/cart/...", Some("/x"), &[("id", "7")]))),
                ("/u/7/c", Some(("/u/...", Some("/7/c"), &[]))),
                ("/v/7/c", Some(("/:a/:b/c", None, &[("a", "v"), ("b", "7")]))),
            ],
        );
    }

    #[test]
    fn routes_are_listed_most_exact_first() {
        let router = router(&["/...", "/a/:b", "/a/b"]);
        let routes: Vec<_> = router.routes().collect();
        assert_eq!(routes, [("/a/b", "at /a/b"), ("/a/:b", "at /a/:b"), ("/...", "at /...")]);
    }

    #[test]
    fn malformed_routes() {
        for (route, rule) in [
            ("", "a route begins with `/`"),
            ("a", "a route begins with `/`"),
            ("/a//b", "a route has no empty segments"),
            ("/.../a", "`...` is not understood: write `/...` at the end for everything below"),
            ("/a/*", "`*` is not understood: write `/...` at the end for everything below"),
            ("/:", "`:` is not a parameter: `:` and then letters, digits, `-` and `_`"),
            ("/:a.b", "`:a.b` is not a parameter: `:` and then letters, digits, `-` and `_`"),
            ("/:a/:a", "`:a` stands in the route twice"),
            ("/a?b", "a route is a path: it has no `?` and no `#`"),
            ("/.well-known/spin/info", "routes below `/.well-known/spin/` are reserved"),
        ] {
            assert_eq!(Pattern::parse(route).unwrap_err(), rule, "{route}");
        }
    }
}

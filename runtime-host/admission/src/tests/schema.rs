//! Schemas as they are meant, and hostile ones.

use std::time::{Duration, Instant};

use funnelweb_core::limits;
use serde_json::{Value, json};

use crate::{Rule, Schema};

fn check(schema: &Value, params: &Value) -> Result<(), (String, String)> {
    Schema::new(schema).unwrap().check(params.as_object().unwrap())
}

#[track_caller]
fn refuses(schema: &Value, pointer: &str, said: &str) {
    let refused = Schema::new(schema).unwrap_err();
    assert_eq!(refused.rule, Rule::Params);
    let start = format!("params{pointer}: ");
    assert!(refused.message.starts_with(&start) && refused.message.contains(said), "{refused}");
}

/// Whether a value fits a schema, as one of params.
#[track_caller]
fn fits(schema: Value, good: &[Value], bad: &[Value]) {
    let schema = json!({"properties": {"x": schema}});
    for value in good {
        check(&schema, &json!({"x": value})).unwrap();
    }
    for value in bad {
        let (pointer, message) = check(&schema, &json!({"x": value})).expect_err(&value.to_string());
        assert!(pointer.starts_with("/x") && !message.is_empty(), "{value}: {pointer} {message}");
    }
}

#[test]
fn keywords_are_as_in_the_draft() {
    let all = [json!(null), json!(true), json!(1), json!(1.5), json!("a"), json!([1]), json!({"a": 1})];
    let except = |at: &[usize]| {
        all.iter()
            .enumerate()
            .filter(|(place, _)| !at.contains(place))
            .map(|(_, value)| value.clone())
            .collect::<Vec<_>>()
    };
    for (name, of) in [
        ("null", &[0][..]),
        ("boolean", &[1]),
        ("integer", &[2]),
        ("number", &[2, 3]),
        ("string", &[4]),
        ("array", &[5]),
        ("object", &[6]),
    ] {
        let good: Vec<Value> = of.iter().map(|at| all[*at].clone()).collect();
        fits(json!({"type": name}), &good, &except(of));
    }
    fits(json!({"type": ["null", "integer"]}), &[json!(null), json!(1.0)], &[json!(1.5), json!("1")]);
    fits(json!(true), &all, &[]);
    fits(json!(false), &[], &all);
    fits(json!({}), &all, &[]);
    fits(
        json!({"enum": [1, "a", [1, 2], {"b": 1.0}]}),
        &[json!(1.0), json!("a"), json!([1.0, 2]), json!({"b": 1})],
        &[json!(2), json!([2, 1]), json!({}), json!(null)],
    );
    fits(json!({"const": {"a": [1]}}), &[json!({"a": [1.0]})], &[json!({"a": [1, 1]}), json!({"a": [1], "b": 1})]);
    fits(
        json!({"minimum": 1, "maximum": 2.5}),
        &[json!(1), json!(1.0), json!(2.5), json!("x")],
        &[json!(0.999), json!(3), json!(-1)],
    );
    fits(json!({"exclusiveMinimum": 1, "exclusiveMaximum": 2}), &[json!(1.5)], &[json!(1), json!(2), json!(2.0)]);
    fits(json!({"maximum": u64::MAX}), &[json!(u64::MAX), json!(i64::MIN)], &[json!(1e30)]);
    fits(
        json!({"maximum": 9_007_199_254_740_992_u64}),
        &[json!(9_007_199_254_740_992_u64)],
        &[json!(9_007_199_254_740_993_u64)],
    );
    fits(json!({"multipleOf": 3}), &[json!(0), json!(-9), json!(6.0)], &[json!(4), json!(1.5)]);
    fits(json!({"multipleOf": 0.1}), &[json!(0.3), json!(7), json!(1.1)], &[json!(0.25)]);
    fits(json!({"multipleOf": 2.0}), &[json!(u64::MAX - 1)], &[json!(u64::MAX)]);
    fits(json!({"multipleOf": 1e-300}), &[], &[json!(1e300)]);
    fits(json!({"minLength": 2, "maxLength": 3}), &[json!("éé"), json!("abc"), json!(1)], &[json!("é"), json!("abcd")]);
    fits(json!({"pattern": "^[a-z]+$"}), &[json!("abc"), json!(1)], &[json!(""), json!("aB")]);
    fits(json!({"pattern": "b"}), &[json!("abc")], &[json!("ac")]);
    fits(
        json!({"items": {"type": "integer"}, "minItems": 1, "maxItems": 2}),
        &[json!([1]), json!([1, 2]), json!({})],
        &[json!([]), json!([1, 2, 3]), json!(["a"])],
    );
    fits(
        json!({"uniqueItems": true}),
        &[json!([1, 2, "1", [1], {"a": 1}]), json!([])],
        &[json!([1, 1.0]), json!([{"a": 1, "b": 2}, {"b": 2, "a": 1}]), json!([["a"], ["a"]]), json!([1e20, 1e20])],
    );
    fits(json!({"uniqueItems": false}), &[json!([1, 1])], &[]);
    fits(json!({"required": ["a"]}), &[json!({"a": null}), json!([])], &[json!({}), json!({"b": 1})]);
    fits(
        json!({"properties": {"a": {"type": "null"}}, "additionalProperties": {"type": "integer"}}),
        &[json!({"a": null, "b": 1})],
        &[json!({"a": 1}), json!({"b": null})],
    );
    fits(json!({"anyOf": [{"type": "null"}, {"minimum": 2}]}), &[json!(null), json!(2), json!("x")], &[json!(1)]);
    fits(json!({"oneOf": [{"minimum": 2}, {"maximum": 3}]}), &[json!(1), json!(4)], &[json!(2), json!("x")]);
    fits(json!({"oneOf": [{"type": "null"}, {"type": "string"}]}), &[json!(null)], &[json!(1)]);
    fits(json!({"allOf": [{"minimum": 2}, {"maximum": 3}]}), &[json!(2)], &[json!(1), json!(4)]);
    fits(json!({"not": {"type": "string"}}), &[json!(1)], &[json!("x")]);
    fits(
        json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "t", "description": "d", "default": 1, "examples": [1]}),
        &all,
        &[],
    );
}

#[test]
fn the_first_that_does_not_fit_is_told() {
    let schema = json!({
        "type": "object",
        "properties": {"a/b": {"type": "array", "items": {"properties": {"~": {"maximum": 1}}}}, "days": {"type": "integer", "minimum": 1}},
        "required": ["days"],
        "additionalProperties": false
    });
    let told = |params: Value| check(&schema, &params).unwrap_err();
    assert_eq!(
        told(json!({"days": 1, "a/b": [{}, {"~": 2}]})),
        ("/a~1b/1/~0".to_owned(), "must be at most 1".to_owned())
    );
    assert_eq!(told(json!({"days": "x"})), ("/days".to_owned(), "must be integer".to_owned()));
    assert_eq!(told(json!({})), (String::new(), "needs `days`".to_owned()));
    let (pointer, message) = told(json!({"days": 1, "dais": 1}));
    assert_eq!((pointer.as_str(), message.contains("a/b, days")), ("/dais", true), "{message}");
    check(&schema, &json!({"days": 3})).unwrap();
}

#[test]
fn only_keywords_that_end_are_taken() {
    for keyword in [
        "$ref",
        "$id",
        "$defs",
        "definitions",
        "$anchor",
        "$dynamicRef",
        "$recursiveRef",
        "patternProperties",
        "propertyNames",
        "if",
        "then",
        "else",
        "dependentSchemas",
        "dependentRequired",
        "dependencies",
        "contains",
        "minContains",
        "prefixItems",
        "additionalItems",
        "unevaluatedProperties",
        "unevaluatedItems",
        "minProperties",
        "maxProperties",
        "format",
        "contentEncoding",
        "nullable",
        "x-own",
    ] {
        let schema = json!({"allOf": [{}, {"not": {keyword: {}}}]});
        refuses(&schema, &format!("/allOf/1/not/{keyword}"), "is not a keyword that is taken here");
    }
    assert!(Schema::new(&json!({"$ref": "#"})).unwrap_err().help.contains("exclusiveMinimum"));
}

#[test]
fn keywords_are_as_they_must_be() {
    for (schema, pointer) in [
        (json!({"type": "text"}), "/type"),
        (json!({"type": []}), "/type"),
        (json!({"type": "string"}), "/type"),
        (json!({"type": ["string", "null"]}), "/type"),
        (json!({"enum": []}), "/enum"),
        (json!({"enum": {}}), "/enum"),
        (json!({"minimum": "1"}), "/minimum"),
        (json!({"exclusiveMinimum": true}), "/exclusiveMinimum"),
        (json!({"multipleOf": 0}), "/multipleOf"),
        (json!({"multipleOf": -1.5}), "/multipleOf"),
        (json!({"minLength": -1}), "/minLength"),
        (json!({"maxItems": 1.5}), "/maxItems"),
        (json!({"uniqueItems": 1}), "/uniqueItems"),
        (json!({"required": [1]}), "/required"),
        (json!({"required": true}), "/required"),
        (json!({"properties": []}), "/properties"),
        (json!({"properties": {"a": 1}}), "/properties/a"),
        (json!({"items": [{}]}), "/items"),
        (json!({"anyOf": []}), "/anyOf"),
        (json!({"allOf": {}}), "/allOf"),
        (json!({"oneOf": [{}, 1]}), "/oneOf/1"),
        (json!({"not": null}), "/not"),
        (json!([]), ""),
        (json!("object"), ""),
    ] {
        refuses(&schema, pointer, "");
    }
    for good in [
        json!({}),
        json!(true),
        json!({"type": "object"}),
        json!({"type": ["null", "object"]}),
        json!({"required": []}),
    ] {
        Schema::new(&good).unwrap();
    }
}

#[test]
fn schemas_are_so_deep() {
    let of = |depth: usize| (1..depth).fold(json!({}), |inner, _| json!({"not": inner}));
    Schema::new(&of(limits::COMPONENT_SCHEMA_DEPTH)).unwrap();
    let over = of(limits::COMPONENT_SCHEMA_DEPTH + 1);
    refuses(&over, &"/not".repeat(limits::COMPONENT_SCHEMA_DEPTH), &limits::COMPONENT_SCHEMA_DEPTH.to_string());
    // In whatever they are.
    for around in ["items", "additionalProperties"] {
        let over = (0..limits::COMPONENT_SCHEMA_DEPTH).fold(json!({}), |inner, _| json!({around: inner}));
        assert!(Schema::new(&over).is_err());
    }
    let beside: Vec<Value> = vec![of(limits::COMPONENT_SCHEMA_DEPTH - 1); 3];
    Schema::new(&json!({"allOf": beside})).unwrap();
}

#[test]
fn patterns_are_bounded() {
    let pattern = |text: &str| json!({"properties": {"x": {"pattern": text}}});
    for good in ["^a{1,63}$", r"\d+(\.\d+)?", r"^\p{L}[\w-]*$", &"x".repeat(256)] {
        Schema::new(&pattern(good)).unwrap();
    }
    for bad in [
        "(",
        r"(a)\1",
        "(?=a)b",
        "(?<!a)b",
        "a{1000000}",
        "((a{100}){100}){100}",
        r"\w{256}",
        r"(?i)[\pL\pN]{100}",
        &"x".repeat(257),
        &format!("{}{}", "(".repeat(100), ")".repeat(100)),
    ] {
        refuses(&pattern(bad), "/properties/x/pattern", "");
    }
    let many = |count: usize| json!({"allOf": vec![json!({"pattern": "a"}); count]});
    Schema::new(&many(64)).unwrap();
    refuses(&many(65), "/allOf/64/pattern", "64");
}

/// Whatever fits into a manifest is read, and whatever fits into params is checked, within
/// a moment; in a build without optimisation it takes longer.
#[track_caller]
fn is_quick(schema: &Value, params: &Value) -> Option<String> {
    assert!(schema.to_string().len() <= limits::COMPONENT_MANIFEST_BYTES, "{}", schema.to_string().len());
    assert!(params.to_string().len() <= limits::PARAMS_BYTES, "{}", params.to_string().len());
    let moment = Duration::from_secs(if cfg!(debug_assertions) { 60 } else { 4 });
    let begin = Instant::now();
    let schema = Schema::new(schema).unwrap();
    let read = begin.elapsed();
    let checked = schema.check(params.as_object().unwrap()).err();
    assert!(begin.elapsed() < moment, "{read:?} to read, {:?} in all", begin.elapsed());
    checked.map(|(_, message)| message)
}

#[test]
fn hostile_schemas_are_read_and_checked_in_a_moment() {
    let too_long = Some("takes too long to check against the schema of the component's params".to_owned());
    // Every item against every branch.
    let mut branches = vec![json!({"type": "array", "items": {"not": {}}}); 500];
    branches.push(json!({}));
    let nested = json!({"additionalProperties": {"items": {"items": {"anyOf": branches}}}});
    let lists: Vec<Value> = vec![json!([[[]]]); 8000];
    assert_eq!(is_quick(&nested, &json!({"x": lists})), too_long);
    // Twice as many at every level.
    let doubled = (0..limits::COMPONENT_SCHEMA_DEPTH - 2).fold(json!({"type": "object"}), |inner, _| {
        if inner.to_string().len() < 12_000 { json!({"allOf": [inner, inner]}) } else { inner }
    });
    assert_eq!(is_quick(&json!({"allOf": [doubled]}), &json!({"x": 1})), None);
    // A long list of what a value may be, for a long list of values.
    let many: Vec<Value> = (0..6000).map(Value::from).collect();
    assert_eq!(
        is_quick(&json!({"additionalProperties": {"items": {"enum": many}}}), &json!({"x": vec![9; 30_000]})),
        too_long
    );
    // Patterns whose states are all alive, on one long text.
    let slow = format!("(x{{0,30}}){{0,40}}{}", "x?".repeat(50));
    let slow = vec![json!({"pattern": slow}); 64];
    let text = "x".repeat(60_000);
    assert_eq!(is_quick(&json!({"additionalProperties": {"allOf": slow}}), &json!({"x": text})), too_long);
    // Large classes, to be folded.
    let classes = vec![json!({"pattern": r"(?i)[\pL&&[^x]]"}); 64];
    is_quick(&json!({"additionalProperties": {"allOf": classes}}), &json!({"x": "é".repeat(1000)}));
    // Many of everything.
    let unique: Vec<Value> = (0..10_000).map(Value::from).collect();
    assert_eq!(is_quick(&json!({"additionalProperties": {"uniqueItems": true}}), &json!({"x": unique})), None);
    let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
    let alike = vec![json!({"const": deep, "uniqueItems": true}); 100];
    is_quick(&json!({"additionalProperties": {"items": {"anyOf": alike}}}), &json!({"x": vec![deep; 300]}));
}

#[test]
fn ordinary_params_are_far_from_too_much() {
    let schema = json!({"properties": {"names": {"items": {"pattern": "^[a-z0-9_-]{1,63}$"}}}});
    let names: Vec<String> = (0..2000).map(|at| format!("category-{at}-of-the-catalogue")).collect();
    check(&schema, &json!({"names": names})).unwrap();
}

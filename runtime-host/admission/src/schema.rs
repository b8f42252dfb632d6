//! The JSON Schema of a component's params, and whether params fit it.
//!
//! A schema comes from whoever made the component. So it is of a few keywords that are
//! checked as the draft 2020-12 says, each of which ends: no references, no properties by
//! pattern, nothing that a validator would fetch. What a check does is counted, and a check
//! that does too much fails: a small schema can ask for very much work of small params.

mod compile;
mod value;

use std::collections::{BTreeMap, HashSet};

use funnelweb_engine::bounded;
use regex_automata::nfa::thompson::pikevm::PikeVM;
use serde_json::{Map, Value};

use crate::{Refused, refused::quoted};

/// Steps of one check, about a keyword or some bytes each: a tenth of a second or so.
const STEPS: u64 = 2_000_000;
/// States of patterns that are looked at in one step.
const STATES_PER_STEP: u64 = 16;

/// A schema that can be checked.
#[derive(Debug)]
pub struct Schema {
    root: Node,
}

impl Schema {
    /// Reads a schema.
    ///
    /// # Errors
    /// [`crate::Rule::Params`], with the JSON pointer of a keyword that is not known, or
    /// not as it must be.
    pub fn new(schema: &Value) -> Result<Self, Refused> {
        Ok(Self { root: compile::root(schema)? })
    }

    /// Whether params fit.
    ///
    /// # Errors
    /// The JSON pointer into the params of the first that does not, empty for all of them,
    /// and why.
    pub fn check(&self, params: &Map<String, Value>) -> Result<(), (String, String)> {
        let mut work = Work { steps: STEPS };
        self.root.check(&Value::Object(params.clone()), &mut work).map_err(|fault| match fault {
            Fault::Mismatch { at, message } => (pointer(&at), bounded(message)),
            Fault::TooMuch => {
                let message = "takes too long to check against the schema of the component's params";
                (String::new(), message.to_owned())
            }
        })
    }
}

/// Outermost last, as it was found on the way out.
fn pointer(at: &[String]) -> String {
    at.iter().rev().map(|step| format!("/{}", step.replace('~', "~0").replace('/', "~1"))).collect()
}

enum Fault {
    Mismatch { at: Vec<String>, message: String },
    TooMuch,
}

impl Fault {
    fn below(mut self, step: impl ToString) -> Self {
        if let Self::Mismatch { at, .. } = &mut self {
            at.push(step.to_string());
        }
        self
    }
}

fn mismatch(message: impl Into<String>) -> Fault {
    Fault::Mismatch { at: Vec::new(), message: message.into() }
}

/// What a check may still do.
struct Work {
    steps: u64,
}

impl Work {
    fn take(&mut self, steps: u64) -> Result<(), Fault> {
        self.steps = self.steps.checked_sub(steps).ok_or(Fault::TooMuch)?;
        Ok(())
    }
}

/// A schema or a part of one.
#[derive(Debug)]
enum Node {
    /// `true` or `false`.
    Always(bool),
    Rules(Box<Rules>),
}

/// The keywords of a schema that are there.
#[derive(Debug, Default)]
struct Rules {
    types: Vec<Type>,
    values: Option<Values>,
    constant: Option<Values>,
    number: Numbers,
    text: Texts,
    list: Lists,
    object: Objects,
    any_of: Option<Vec<Node>>,
    one_of: Option<Vec<Node>>,
    all_of: Vec<Node>,
    not: Option<Node>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Null,
    Boolean,
    Integer,
    Number,
    String,
    Array,
    Object,
}

/// What a value may be equal to.
#[derive(Debug)]
struct Values {
    values: Vec<Value>,
    /// What it takes to compare with all of them.
    steps: u64,
}

#[derive(Debug, Default)]
struct Numbers {
    minimum: Option<serde_json::Number>,
    maximum: Option<serde_json::Number>,
    above: Option<serde_json::Number>,
    below: Option<serde_json::Number>,
    multiple_of: Option<serde_json::Number>,
}

#[derive(Debug, Default)]
struct Texts {
    least: Option<u64>,
    most: Option<u64>,
    pattern: Option<Pattern>,
}

#[derive(Debug)]
struct Pattern {
    text: String,
    machine: PikeVM,
}

#[derive(Debug, Default)]
struct Lists {
    items: Option<Node>,
    least: Option<u64>,
    most: Option<u64>,
    unique: bool,
}

#[derive(Debug, Default)]
struct Objects {
    properties: BTreeMap<String, Node>,
    required: Vec<String>,
    /// For those that `properties` does not name.
    others: Option<Node>,
}

impl Node {
    fn check(&self, value: &Value, work: &mut Work) -> Result<(), Fault> {
        work.take(1)?;
        match self {
            Self::Always(true) => Ok(()),
            Self::Always(false) => Err(mismatch("is not allowed")),
            Self::Rules(rules) => rules.check(value, work),
        }
    }

    fn fits(&self, value: &Value, work: &mut Work) -> Result<bool, Fault> {
        match self.check(value, work) {
            Ok(()) => Ok(true),
            Err(Fault::Mismatch { .. }) => Ok(false),
            Err(Fault::TooMuch) => Err(Fault::TooMuch),
        }
    }
}

impl Rules {
    fn check(&self, value: &Value, work: &mut Work) -> Result<(), Fault> {
        if !self.types.is_empty() && !self.types.iter().any(|of| of.is_of(value)) {
            let names: Vec<&str> = self.types.iter().map(|of| of.as_str()).collect();
            return Err(mismatch(format!("must be {}", names.join(" or "))));
        }
        for (values, one) in [(&self.values, false), (&self.constant, true)] {
            let Some(values) = values else { continue };
            work.take(values.steps)?;
            if !values.values.iter().any(|allowed| value::equal(allowed, value)) {
                let listed: Vec<String> = values.values.iter().take(16).map(Value::to_string).collect();
                let of = if one { "" } else { "one of " };
                return Err(mismatch(format!("must be {of}{}", listed.join(", "))));
            }
        }
        match value {
            Value::Number(number) => self.number.check(number)?,
            Value::String(text) => self.text.check(text, work)?,
            Value::Array(values) => self.list.check(values, work)?,
            Value::Object(fields) => self.object.check(fields, work)?,
            Value::Null | Value::Bool(_) => {}
        }
        self.combined(value, work)
    }

    fn combined(&self, value: &Value, work: &mut Work) -> Result<(), Fault> {
        for node in &self.all_of {
            node.check(value, work)?;
        }
        if let Some(nodes) = &self.any_of
            && count(nodes, value, work, 1)? == 0
        {
            return Err(mismatch("fits none of what `anyOf` lists"));
        }
        if let Some(nodes) = &self.one_of {
            match count(nodes, value, work, 2)? {
                0 => return Err(mismatch("fits none of what `oneOf` lists")),
                1 => {}
                _ => return Err(mismatch("fits more than one of what `oneOf` lists")),
            }
        }
        match &self.not {
            Some(node) if node.fits(value, work)? => Err(mismatch("is what `not` excludes")),
            _ => Ok(()),
        }
    }
}

/// How many fit, of which no more than `enough` are looked for.
fn count(nodes: &[Node], value: &Value, work: &mut Work, enough: usize) -> Result<usize, Fault> {
    let mut fitting = 0;
    for node in nodes {
        fitting += usize::from(node.fits(value, work)?);
        if fitting == enough {
            break;
        }
    }
    Ok(fitting)
}

impl Type {
    const ALL: [Self; 7] =
        [Self::Null, Self::Boolean, Self::Integer, Self::Number, Self::String, Self::Array, Self::Object];

    fn as_str(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::String => "string",
            Self::Array => "array",
            Self::Object => "object",
        }
    }

    fn is_of(self, value: &Value) -> bool {
        match self {
            Self::Null => value.is_null(),
            Self::Boolean => value.is_boolean(),
            // 1.0 is an integer as well.
            Self::Integer => value.as_number().is_some_and(value::is_whole),
            Self::Number => value.is_number(),
            Self::String => value.is_string(),
            Self::Array => value.is_array(),
            Self::Object => value.is_object(),
        }
    }
}

impl Numbers {
    fn check(&self, number: &serde_json::Number) -> Result<(), Fault> {
        let cross =
            |limit: &Option<serde_json::Number>, allowed: fn(std::cmp::Ordering) -> bool, what: &str| match limit {
                Some(limit) if !value::order(number, limit).is_some_and(allowed) => {
                    Err(mismatch(format!("must be {what} {limit}")))
                }
                _ => Ok(()),
            };
        cross(&self.minimum, std::cmp::Ordering::is_ge, "at least")?;
        cross(&self.maximum, std::cmp::Ordering::is_le, "at most")?;
        cross(&self.above, std::cmp::Ordering::is_gt, "more than")?;
        cross(&self.below, std::cmp::Ordering::is_lt, "less than")?;
        match &self.multiple_of {
            Some(of) if !value::is_multiple(number, of) => Err(mismatch(format!("must be a multiple of {of}"))),
            _ => Ok(()),
        }
    }
}

impl Texts {
    fn check(&self, text: &str, work: &mut Work) -> Result<(), Fault> {
        work.take(text.len() as u64 / 64)?;
        let length = text.chars().count() as u64;
        bounds(length, self.least, self.most, "characters")?;
        let Some(Pattern { text: pattern, machine }) = &self.pattern else { return Ok(()) };
        let states = machine.get_nfa().states().len() as u64;
        work.take((text.len() as u64 + 1).saturating_mul(states) / STATES_PER_STEP)?;
        if machine.is_match(&mut machine.create_cache(), text) {
            return Ok(());
        }
        Err(mismatch(format!("must match the pattern {pattern}")))
    }
}

impl Lists {
    fn check(&self, values: &[Value], work: &mut Work) -> Result<(), Fault> {
        bounds(values.len() as u64, self.least, self.most, "items")?;
        if self.unique {
            let mut seen = HashSet::new();
            for (at, value) in values.iter().enumerate() {
                let key = value::key(value);
                work.take(1 + key.len() as u64 / 16)?;
                if !seen.insert(key) {
                    return Err(mismatch("stands in the list before").below(at));
                }
            }
        }
        if let Some(node) = &self.items {
            for (at, value) in values.iter().enumerate() {
                node.check(value, work).map_err(|fault| fault.below(at))?;
            }
        }
        Ok(())
    }
}

impl Objects {
    fn check(&self, fields: &Map<String, Value>, work: &mut Work) -> Result<(), Fault> {
        work.take(self.required.len() as u64)?;
        if let Some(missing) = self.required.iter().find(|name| !fields.contains_key(*name)) {
            return Err(mismatch(format!("needs {}", quoted(missing))));
        }
        for (name, value) in fields {
            work.take(1)?;
            let node = self.properties.get(name);
            let checked = match (node, &self.others) {
                (Some(node), _) => node.check(value, work),
                (None, Some(Node::Always(false))) => {
                    let known: Vec<&str> = self.properties.keys().map(String::as_str).take(16).collect();
                    Err(mismatch(format!("is not one of the params: {}", known.join(", "))))
                }
                (None, Some(others)) => others.check(value, work),
                (None, None) => Ok(()),
            };
            checked.map_err(|fault| fault.below(name))?;
        }
        Ok(())
    }
}

fn bounds(count: u64, least: Option<u64>, most: Option<u64>, what: &str) -> Result<(), Fault> {
    if let Some(least) = least.filter(|least| count < *least) {
        return Err(mismatch(format!("must have at least {least} {what}; it has {count}")));
    }
    if let Some(most) = most.filter(|most| count > *most) {
        return Err(mismatch(format!("must have at most {most} {what}; it has {count}")));
    }
    Ok(())
}

//! From the JSON of a schema to what is checked.

use std::collections::BTreeMap;

use funnelweb_core::limits;
use funnelweb_engine::bounded;
use regex_automata::nfa::thompson::{self, WhichCaptures, pikevm::PikeVM};
use serde_json::{Number, Value};

use super::{Node, Pattern, Rules, Type, Values};
use crate::{Refused, Rule};

/// Patterns of a schema.
const PATTERNS: usize = 64;
/// Bytes of one.
const PATTERN_BYTES: usize = 256;
/// Bytes of one as it is run.
const PATTERN_MACHINE_BYTES: usize = 256 * 1024;
/// Groups in groups of one.
const PATTERN_NESTING: u32 = 16;

/// What is checked.
const KEYWORDS: [&str; 22] = [
    "type",
    "enum",
    "const",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "anyOf",
    "oneOf",
    "allOf",
    "not",
];

/// What says something of a schema, and nothing of what fits it.
const ANNOTATIONS: [&str; 5] = ["$schema", "title", "description", "default", "examples"];

pub(super) fn root(schema: &Value) -> Result<Node, Refused> {
    let mut compiler = Compiler { depth: 0, patterns: 0, path: Vec::new() };
    let node = compiler.node(schema)?;
    if let Node::Rules(rules) = &node
        && !rules.types.is_empty()
        && !rules.types.contains(&Type::Object)
    {
        compiler.path.push("type".to_owned());
        return Err(compiler.refused("params are an object: write \"object\""));
    }
    Ok(node)
}

struct Compiler {
    /// Schemas around the one that is being read, and itself.
    depth: usize,
    patterns: usize,
    /// Keywords and names on the way to what is being read.
    path: Vec<String>,
}

impl Compiler {
    fn node(&mut self, schema: &Value) -> Result<Node, Refused> {
        let fields = match schema {
            Value::Bool(always) => return Ok(Node::Always(*always)),
            Value::Object(fields) => fields,
            _ => return Err(self.refused("must be a schema: an object, true or false")),
        };
        self.depth += 1;
        if self.depth > limits::COMPONENT_SCHEMA_DEPTH {
            let most = limits::COMPONENT_SCHEMA_DEPTH;
            return Err(self.refused(&format!("is a schema in more than {} others; {most} deep is the most", most - 1)));
        }
        let mut rules = Box::<Rules>::default();
        for (keyword, value) in fields {
            self.path.push(keyword.clone());
            self.keyword(&mut rules, keyword, value)?;
            self.path.pop();
        }
        self.depth -= 1;
        Ok(Node::Rules(rules))
    }

    fn keyword(&mut self, rules: &mut Rules, keyword: &str, value: &Value) -> Result<(), Refused> {
        match keyword {
            "type" => rules.types = self.types(value)?,
            "enum" => rules.values = Some(Values::of(self.list(value)?.clone())),
            "const" => rules.constant = Some(Values::of(vec![value.clone()])),
            "minimum" => rules.number.minimum = Some(self.number(value)?),
            "maximum" => rules.number.maximum = Some(self.number(value)?),
            "exclusiveMinimum" => rules.number.above = Some(self.number(value)?),
            "exclusiveMaximum" => rules.number.below = Some(self.number(value)?),
            "multipleOf" => rules.number.multiple_of = Some(self.positive(value)?),
            "minLength" => rules.text.least = Some(self.count(value)?),
            "maxLength" => rules.text.most = Some(self.count(value)?),
            "pattern" => rules.text.pattern = Some(self.pattern(value)?),
            "items" => rules.list.items = Some(self.node(value)?),
            "minItems" => rules.list.least = Some(self.count(value)?),
            "maxItems" => rules.list.most = Some(self.count(value)?),
            "uniqueItems" => rules.list.unique = self.boolean(value)?,
            "properties" => rules.object.properties = self.properties(value)?,
            "required" => rules.object.required = self.names(value)?,
            "additionalProperties" => rules.object.others = Some(self.node(value)?),
            "anyOf" => rules.any_of = Some(self.schemas(value)?),
            "oneOf" => rules.one_of = Some(self.schemas(value)?),
            "allOf" => rules.all_of = self.schemas(value)?,
            "not" => rules.not = Some(self.node(value)?),
            known if ANNOTATIONS.contains(&known) => {}
            _ => return Err(self.refused("is not a keyword that is taken here")),
        }
        Ok(())
    }

    fn below(&mut self, step: impl ToString, schema: &Value) -> Result<Node, Refused> {
        self.path.push(step.to_string());
        let node = self.node(schema)?;
        self.path.pop();
        Ok(node)
    }

    fn properties(&mut self, value: &Value) -> Result<BTreeMap<String, Node>, Refused> {
        let fields = value.as_object().ok_or_else(|| self.refused("must be an object of schemas"))?;
        fields.iter().map(|(name, schema)| Ok((name.clone(), self.below(name, schema)?))).collect()
    }

    fn schemas(&mut self, value: &Value) -> Result<Vec<Node>, Refused> {
        let schemas = self.list(value)?;
        schemas.iter().enumerate().map(|(at, schema)| self.below(at, schema)).collect()
    }

    fn types(&self, value: &Value) -> Result<Vec<Type>, Refused> {
        let names = match value {
            Value::Array(names) if !names.is_empty() => names.as_slice(),
            other => std::slice::from_ref(other),
        };
        let of = |name: &Value| Type::ALL.into_iter().find(|of| name.as_str() == Some(of.as_str()));
        let types: Option<Vec<Type>> = names.iter().map(of).collect();
        types.ok_or_else(|| {
            let names = Type::ALL.map(Type::as_str).join(", ");
            self.refused(&format!("must be one of {names}, or a list of them"))
        })
    }

    fn pattern(&mut self, value: &Value) -> Result<Pattern, Refused> {
        let text = value.as_str().ok_or_else(|| self.refused("must be a text"))?;
        self.patterns += 1;
        if self.patterns > PATTERNS {
            return Err(self.refused(&format!("is one pattern too many; {PATTERNS} are the most")));
        }
        if text.len() > PATTERN_BYTES {
            let message = format!("has {} bytes; {PATTERN_BYTES} is the most of a pattern", text.len());
            return Err(self.refused(&message));
        }
        let syntax = regex_automata::util::syntax::Config::new().nest_limit(PATTERN_NESTING);
        let config =
            thompson::Config::new().nfa_size_limit(Some(PATTERN_MACHINE_BYTES)).which_captures(WhichCaptures::None);
        let machine = PikeVM::builder().syntax(syntax).thompson(config).build(text).map_err(|error| {
            let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            let cause = cause.lines().last().unwrap_or_default().to_owned();
            self.refused(&format!("is not a pattern that is taken here (of the syntax of Rust's `regex`): {cause}"))
        })?;
        Ok(Pattern { text: text.to_owned(), machine })
    }

    fn names(&self, value: &Value) -> Result<Vec<String>, Refused> {
        let names = self.list_or_empty(value)?.iter().map(|name| name.as_str().map(str::to_owned));
        names.collect::<Option<_>>().ok_or_else(|| self.refused("must be a list of names"))
    }

    fn list<'a>(&self, value: &'a Value) -> Result<&'a Vec<Value>, Refused> {
        let list = self.list_or_empty(value)?;
        if list.is_empty() { Err(self.refused("must not be empty")) } else { Ok(list) }
    }

    fn list_or_empty<'a>(&self, value: &'a Value) -> Result<&'a Vec<Value>, Refused> {
        value.as_array().ok_or_else(|| self.refused("must be a list"))
    }

    fn number(&self, value: &Value) -> Result<Number, Refused> {
        value.as_number().cloned().ok_or_else(|| self.refused("must be a number"))
    }

    fn positive(&self, value: &Value) -> Result<Number, Refused> {
        let number = self.number(value)?;
        match number.as_f64() {
            Some(float) if float > 0.0 => Ok(number),
            _ => Err(self.refused("must be above 0")),
        }
    }

    fn count(&self, value: &Value) -> Result<u64, Refused> {
        value.as_u64().ok_or_else(|| self.refused("must be a whole number, not below 0"))
    }

    fn boolean(&self, value: &Value) -> Result<bool, Refused> {
        value.as_bool().ok_or_else(|| self.refused("must be true or false"))
    }

    fn refused(&self, message: &str) -> Refused {
        let steps = self.path.iter().map(|step| format!("/{}", step.replace('~', "~0").replace('/', "~1")));
        let message = format!("params{}: {}", bounded(steps.collect()), bounded(message.to_owned()));
        let help = format!(
            "params are described with these keywords of JSON Schema, without references: {}, {}",
            KEYWORDS.join(", "),
            ANNOTATIONS.join(", ")
        );
        Refused::new(Rule::Params, message, help)
    }
}

impl Values {
    fn of(values: Vec<Value>) -> Self {
        let steps = values.iter().map(size).sum();
        Self { values, steps }
    }
}

/// Values in a value, and itself.
fn size(value: &Value) -> u64 {
    1 + match value {
        Value::Array(values) => values.iter().map(size).sum(),
        Value::Object(fields) => fields.values().map(size).sum(),
        Value::String(text) => text.len() as u64 / 64,
        _ => 0,
    }
}

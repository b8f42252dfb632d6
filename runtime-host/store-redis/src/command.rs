//! Commands and scripts, and what they reply.

use std::sync::OnceLock;

use redis::{Cmd, Script, ToRedisArgs, Value, cmd};

/// A command about one key, or about several of one slot.
pub(crate) struct Command {
    key: String,
    cmd: Cmd,
    /// The text of the script that the command calls by its hash.
    script: Option<&'static Scripted>,
}

/// A script that is called by its hash.
pub(crate) struct Scripted {
    text: &'static str,
    script: OnceLock<Script>,
}

pub(crate) static CACHE_PUT: Scripted = Scripted::new(include_str!("lua/cache_put.lua"));
pub(crate) static COMPARE_AND_SET: Scripted = Scripted::new(include_str!("lua/compare_and_set.lua"));
pub(crate) static COUNT: Scripted = Scripted::new(include_str!("lua/count.lua"));
pub(crate) static EXPOSE: Scripted = Scripted::new(include_str!("lua/expose.lua"));
pub(crate) static GET_MANY: Scripted = Scripted::new(include_str!("lua/get_many.lua"));
pub(crate) static HOT_ADD: Scripted = Scripted::new(include_str!("lua/hot_add.lua"));
pub(crate) static HOT_READ: Scripted = Scripted::new(include_str!("lua/hot_read.lua"));
pub(crate) static INCREMENT: Scripted = Scripted::new(include_str!("lua/increment.lua"));
pub(crate) static JOBS_CHANGE: Scripted = Scripted::new(include_str!("lua/jobs_change.lua"));
pub(crate) static JOBS_FORGET: Scripted = Scripted::new(include_str!("lua/jobs_forget.lua"));
pub(crate) static JOBS_KEEP: Scripted = Scripted::new(include_str!("lua/jobs_keep.lua"));
pub(crate) static JOBS_REST: Scripted = Scripted::new(include_str!("lua/jobs_rest.lua"));
pub(crate) static KEYS: Scripted = Scripted::new(include_str!("lua/keys.lua"));
pub(crate) static KEYS_PAGE: Scripted = Scripted::new(include_str!("lua/keys_page.lua"));

impl Scripted {
    const fn new(text: &'static str) -> Self {
        Self { text, script: OnceLock::new() }
    }

    /// A call of the script about these keys, the first of which says to which
    /// node it goes.
    pub(crate) fn call(&'static self, keys: &[&str]) -> Command {
        let script = self.script.get_or_init(|| Script::new(self.text));
        let mut cmd = cmd("EVALSHA");
        cmd.arg(script.get_hash()).arg(keys.len()).arg(keys);
        Command { key: keys.first().map_or_else(String::new, |key| (*key).to_owned()), cmd, script: Some(self) }
    }
}

impl Command {
    /// `name key`.
    pub(crate) fn new(name: &str, key: &str) -> Self {
        let mut cmd = cmd(name);
        cmd.arg(key);
        Self { key: key.to_owned(), cmd, script: None }
    }

    /// With one more argument, or several.
    pub(crate) fn arg(mut self, argument: impl ToRedisArgs) -> Self {
        self.cmd.arg(argument);
        self
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    pub(crate) fn cmd(&self) -> &Cmd {
        &self.cmd
    }

    /// The call with the script's text, for a server that has not seen it: it
    /// knows it from then on. None when the reply is any other.
    pub(crate) fn with_text(&self, reply: &Value) -> Option<Self> {
        let script = self.script?;
        let Value::ServerError(error) = reply else { return None };
        if error.code() != "NOSCRIPT" {
            return None;
        }
        let mut cmd = cmd("EVAL");
        cmd.arg(script.text);
        // But for the old name and the hash.
        for argument in self.cmd.args_iter().skip(2) {
            if let redis::Arg::Simple(argument) = argument {
                cmd.arg(argument);
            }
        }
        Some(Self { key: self.key.clone(), cmd, script: None })
    }
}

/// A number as a script reads it back exactly; a sum that is too large is cut.
pub(crate) fn number(value: f64) -> String {
    format!("{:e}", value.clamp(-f64::MAX, f64::MAX))
}

/// Bytes of a reply, if it is any.
pub(crate) fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.into_bytes()),
        _ => None,
    }
}

/// The text of a reply, if it is any.
pub(crate) fn text(value: Value) -> Option<String> {
    match value {
        Value::Int(number) => Some(number.to_string()),
        other => String::from_utf8(bytes(other)?).ok(),
    }
}

/// The members of a reply.
pub(crate) fn list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(values) | Value::Set(values) => values,
        _ => Vec::new(),
    }
}

/// The finite number that a reply says, else 0.
pub(crate) fn float(value: Value) -> f64 {
    let number = match value {
        Value::Int(number) => number as f64,
        Value::Double(number) => number,
        other => text(other).and_then(|text| text.parse().ok()).unwrap_or(0.0),
    };
    if number.is_nan() { 0.0 } else { number.clamp(-f64::MAX, f64::MAX) }
}

//! Whether the stages that a config names exist and take their params. The
//! stages are asked; this turns their answers into errors with JSON paths.

use funnelweb_core::{
    error::{ApiError, Code},
    scenario::Config,
};
use funnelweb_guest::dispatch::{self, CheckError, Role};
use serde_json::{Map, Value};

/// Asks whether a stage of a role takes these params (a JSON object).
pub(crate) type Ask<'a> = &'a dyn Fn(Role, &str, &str) -> Result<(), CheckError>;

/// Asks the host.
pub(crate) fn ask(role: Role, stage: &str, params: &str) -> Result<(), CheckError> {
    dispatch::check(role, stage, params).map(drop)
}

/// Checks every stage of a config, in the order of the funnel.
pub(crate) fn stages(config: &Config, ask: Ask<'_>) -> Result<(), ApiError> {
    for (at, strategy) in config.recall.strategies.iter().enumerate() {
        let path = format!("config.recall.strategies[{at}]");
        stage(ask, Role::Recall, (&path, "name"), &strategy.name, &strategy.params)?;
    }
    stage(ask, Role::Rank, ("config.rank", "model"), &config.rank.model, &config.rank.params)?;
    for (at, rule) in config.rerank.rules.iter().enumerate() {
        let path = format!("config.rerank.rules[{at}]");
        stage(ask, Role::Rerank, (&path, "name"), &rule.name, &rule.params)?;
    }
    Ok(())
}

fn stage(
    ask: Ask<'_>,
    role: Role,
    (path, field): (&str, &str),
    name: &str,
    params: &Map<String, Value>,
) -> Result<(), ApiError> {
    let params = serde_json::to_string(params).map_err(|error| ApiError::new(Code::Internal, error.to_string()))?;
    ask(role, name, &params).map_err(|error| match error {
        CheckError::Unknown(known) => {
            let message = format!("no {} is called `{name}`; known: {}", word(role), known.join(", "));
            ApiError::field(Code::InvalidConfig, format!("{path}.{field}"), message)
        }
        CheckError::Invalid(error) => {
            let inner = path_of_pointer(&error.path);
            ApiError::field(Code::InvalidConfig, format!("{path}.params{inner}"), error.message)
        }
    })
}

fn word(role: Role) -> &'static str {
    match role {
        Role::Recall => "recall strategy",
        Role::Rank => "rank model",
        Role::Rerank => "rerank rule",
    }
}

/// A JSON pointer (RFC 6901) as a path: `/list/1/a~1b` is `.list[1].a/b`.
fn path_of_pointer(pointer: &str) -> String {
    let mut path = String::new();
    for segment in pointer.split('/').skip(1) {
        if !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit()) {
            path.push_str(&format!("[{segment}]"));
        } else {
            path.push('.');
            path.push_str(&segment.replace("~1", "/").replace("~0", "~"));
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use funnelweb_guest::types::ParamError;

    use super::*;

    fn config() -> Config {
        serde_json::from_str(
            r#"{"recall":{"strategies":[{"name":"latest"},{"name":"hot_items","params":{"x":1}}]},
                "rerank":{"rules":[{"name":"freshness","params":{"decay_days":7}}]}}"#,
        )
        .unwrap()
    }

    fn refused(bad: &str, error: CheckError) -> ApiError {
        stages(&config(), &|_, name, _| if name == bad { Err(error.clone()) } else { Ok(()) }).unwrap_err()
    }

    #[test]
    fn every_stage_is_asked_with_its_params() {
        let asked = std::cell::RefCell::new(Vec::new());
        let ask = |_: Role, name: &str, params: &str| {
            asked.borrow_mut().push(format!("{name} {params}"));
            Ok(())
        };
        stages(&config(), &ask).unwrap();
        assert_eq!(
            *asked.borrow(),
            ["latest {}", r#"hot_items {"x":1}"#, "linear {}", r#"freshness {"decay_days":7}"#]
        );
    }

    #[test]
    fn an_unknown_name_lists_those_that_exist() {
        let error = refused("hot_items", CheckError::Unknown(vec!["hot_items2".into(), "latest".into()]));
        assert_eq!(error.code, Code::InvalidConfig);
        assert_eq!(error.field.as_deref(), Some("config.recall.strategies[1].name"));
        assert_eq!(error.message, "no recall strategy is called `hot_items`; known: hot_items2, latest");
        let error = refused("linear", CheckError::Unknown(vec![]));
        assert_eq!(error.field.as_deref(), Some("config.rank.model"));
    }

    #[test]
    fn a_param_is_named_by_its_path() {
        let invalid = |path: &str| CheckError::Invalid(ParamError { path: path.into(), message: "no".into() });
        let field = |path: &str| refused("freshness", invalid(path)).field.unwrap();
        assert_eq!(field("/decay_days"), "config.rerank.rules[0].params.decay_days");
        assert_eq!(field("/list/1/a~1b~0"), "config.rerank.rules[0].params.list[1].a/b~");
        assert_eq!(field(""), "config.rerank.rules[0].params");
    }
}

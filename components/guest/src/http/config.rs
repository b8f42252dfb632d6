//! Whether the stages and jobs that a config names exist and take their params, also as
//! experiments change it. They are asked; this turns their answers into errors with JSON
//! paths.

use std::cell::RefCell;

use funnelweb_core::{
    error::{ApiError, Code},
    experiment::{Running, overlaid},
    job::Kind,
    scenario::{Config, UserPart},
};
use serde_json::{Map, Value};

use crate::{
    dispatch::{self, CheckError, Role},
    jobs,
    params::{path_of_pointer, personal},
    types::Requirements,
};

/// Who is asked.
pub trait Ask {
    /// Whether a stage of a role takes these params (a JSON object).
    ///
    /// # Errors
    /// Why it does not.
    fn stage(&self, role: Role, stage: &str, params: &str) -> Result<Requirements, CheckError>;

    /// Whether a job takes these params (a JSON object).
    ///
    /// # Errors
    /// A JSON pointer and a message.
    fn job(&self, kind: Kind, params: &str) -> Result<(), (String, String)>;
}

/// Asks the host.
#[derive(Debug, Clone, Copy)]
pub struct Host;

impl Ask for Host {
    fn stage(&self, role: Role, stage: &str, params: &str) -> Result<Requirements, CheckError> {
        dispatch::check(role, stage, params)
    }

    fn job(&self, kind: Kind, params: &str) -> Result<(), (String, String)> {
        jobs::check(kind.into(), params)
    }
}

/// Checks every stage of a config, in the order of the funnel, and every job.
///
/// # Errors
/// `invalid_config` with the path, or that they cannot be asked.
pub fn all(config: &Config, ask: &dyn Ask) -> Result<(), ApiError> {
    stages(config, ask)?;
    if let Some(tried) = config.shadowed()? {
        stages(&tried, ask).map_err(|error| {
            let path = error.field.as_deref().unwrap_or_default();
            let path = format!("config.shadow.config{}", path.strip_prefix("config").unwrap_or(path));
            ApiError { field: Some(path), ..error }
        })?;
    }
    for (kind, said) in config.jobs.iter() {
        job(ask, kind, &said.params)?;
    }
    Ok(())
}

fn stages(config: &Config, ask: &dyn Ask) -> Result<(), ApiError> {
    for (at, strategy) in config.recall.strategies.iter().enumerate() {
        let path = format!("config.recall.strategies[{at}]");
        let needs = stage(ask, Role::Recall, (&path, "name"), &strategy.name, &strategy.params)?;
        sees(config, (&path, "name"), &strategy.name, &needs)?;
    }
    let at = ("config.rank", "model");
    let needs = stage(ask, Role::Rank, at, &config.rank.model, &config.rank.params)?;
    sees(config, at, &config.rank.model, &needs)?;
    for (at, rule) in config.rerank.rules.iter().enumerate() {
        let path = format!("config.rerank.rules[{at}]");
        let needs = stage(ask, Role::Rerank, (&path, "name"), &rule.name, &rule.params)?;
        sees(config, (&path, "name"), &rule.name, &needs)?;
    }
    Ok(())
}

/// What is wrong with the config that groups make of a scenario's.
pub type GroupFault = Box<WrongGroup>;

/// What a [`GroupFault`] says.
#[derive(Debug)]
pub struct WrongGroup {
    /// The groups: places of experiments and, in them, of groups.
    pub groups: Vec<(usize, usize)>,
    /// What is wrong.
    pub error: ApiError,
}

impl WrongGroup {
    /// The error of whoever changes the scenario, or one of its experiments.
    #[must_use]
    pub fn of_scenario(self, experiments: &[Running]) -> ApiError {
        let named = |(experiment, group): &(usize, usize)| {
            let of = experiments.get(*experiment)?;
            Some(format!("the group `{}` of `{}`", of.groups.get(*group)?.group_id, of.experiment_id))
        };
        let named: Vec<String> = self.groups.iter().filter_map(named).collect();
        ApiError { message: format!("{}; so it is in {}", self.error.message, named.join(" with ")), ..self.error }
    }
}

/// Checks the configs that the groups of experiments make of a scenario's, each as a whole,
/// and each two that one request may have.
///
/// # Errors
/// As [`all`], and of which groups.
pub fn with_experiments(config: &Value, experiments: &[Running], ask: &dyn Ask) -> Result<(), GroupFault> {
    let ask = Remembering { of: ask, answers: RefCell::default() };
    let check = |groups: Vec<(usize, usize)>, overlays: &[&Map<String, Value>]| {
        let config = overlaid(config, overlays).and_then(|config| stages(&config, &ask));
        config.map_err(|error| Box::new(WrongGroup { groups, error }))
    };
    let changing = |experiment: &Running| -> Vec<(usize, Map<String, Value>)> {
        let groups = experiment.groups.iter().enumerate();
        groups.filter(|(_, group)| !group.config.is_empty()).map(|(at, group)| (at, group.config.clone())).collect()
    };
    let all: Vec<_> = experiments.iter().map(changing).collect();
    // First those that are wrong alone.
    for (at, groups) in all.iter().enumerate() {
        groups.iter().try_for_each(|(group, overlay)| check(vec![(at, *group)], &[overlay]))?;
    }
    for (at, (one, groups)) in experiments.iter().zip(&all).enumerate() {
        for (group, overlay) in groups {
            // Of those of one layer a request is in one.
            for (beside, (other, others)) in experiments.iter().zip(&all).enumerate().skip(at + 1) {
                for (of_other, over) in others.iter().filter(|_| other.layer != one.layer) {
                    check(vec![(at, *group), (beside, *of_other)], &[overlay, over])?;
                }
            }
        }
    }
    Ok(())
}

/// Asks of each stage with the same params once.
struct Remembering<'a> {
    of: &'a dyn Ask,
    answers: RefCell<Vec<Answer>>,
}

/// Of a stage of a role, with these params.
type Answer = (Role, String, String, Result<Requirements, CheckError>);

impl Ask for Remembering<'_> {
    fn stage(&self, role: Role, stage: &str, params: &str) -> Result<Requirements, CheckError> {
        let is_it = |(of, name, given, _): &&(Role, String, String, _)| *of == role && name == stage && given == params;
        if let Some((.., answer)) = self.answers.borrow().iter().find(is_it) {
            return answer.clone();
        }
        let answer = self.of.stage(role, stage, params);
        self.answers.borrow_mut().push((role, stage.to_owned(), params.to_owned(), answer.clone()));
        answer
    }

    fn job(&self, kind: Kind, params: &str) -> Result<(), (String, String)> {
        self.of.job(kind, params)
    }
}

fn job(ask: &dyn Ask, kind: Kind, params: &Map<String, Value>) -> Result<(), ApiError> {
    ask.job(kind, &text(params)?).map_err(|(pointer, message)| {
        let inner = path_of_pointer(&pointer);
        ApiError::field(Code::InvalidConfig, format!("config.jobs.{}.params{inner}", kind.as_str()), message)
    })
}

fn text(params: &Map<String, Value>) -> Result<String, ApiError> {
    serde_json::to_string(params).map_err(|error| ApiError::new(Code::Internal, error.to_string()))
}

fn stage(
    ask: &dyn Ask,
    role: Role,
    (path, field): (&str, &str),
    name: &str,
    params: &Map<String, Value>,
) -> Result<Requirements, ApiError> {
    ask.stage(role, name, &text(params)?).map_err(|error| match error {
        CheckError::Unknown(known) => {
            let message = format!("no {} is called `{name}`; known: {}", word(role), known.join(", "));
            ApiError::field(Code::InvalidConfig, format!("{path}.{field}"), message)
        }
        CheckError::Invalid(error) => {
            let inner = path_of_pointer(&error.path);
            ApiError::field(Code::InvalidConfig, format!("{path}.params{inner}"), error.message)
        }
        CheckError::Unavailable(message) => ApiError::new(Code::StoreUnavailable, message),
    })
}

/// Whether a component of the tenant's own asks for no more than the scenario lets it see.
fn sees(config: &Config, (path, field): (&str, &str), name: &str, needs: &Requirements) -> Result<(), ApiError> {
    // Those that are built in have no `/` in their names.
    if !name.contains('/') {
        return Ok(());
    }
    let refused = |what: &str, list: &str| {
        let message = format!("`{name}` reads {what}, which config.components.{list} does not have");
        Err(ApiError::field(Code::InvalidConfig, format!("{path}.{field}"), message))
    };
    let allowed = &config.components;
    for part in [UserPart::Id, UserPart::Attributes, UserPart::Preferences, UserPart::Recent, UserPart::Context] {
        let flag = personal(&[part]);
        if needs.personal & flag == flag && !allowed.user.contains(&part) {
            return refused(&format!("`{}` of the user", part.as_str()), "user");
        }
    }
    let hidden = |name: &String| allowed.fields.as_ref().is_some_and(|fields| !fields.contains(name));
    match needs.columns.iter().find(|column| hidden(&column.name)) {
        Some(column) => refused(&format!("the field `{}`", column.name), "fields"),
        None => Ok(()),
    }
}

fn word(role: Role) -> &'static str {
    match role {
        Role::Recall => "recall strategy",
        Role::Rank => "rank model",
        Role::Rerank => "rerank rule",
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use serde_json::json;

    use super::*;
    use crate::types::{ColumnKind, ParamError};

    fn config() -> Config {
        serde_json::from_str(
            r#"{"recall":{"strategies":[{"name":"latest"},{"name":"hot_items","params":{"x":1}}]},
                "rerank":{"rules":[{"name":"freshness","params":{"decay_days":7}}]},
                "jobs":{"profiles":{"schedule":"0 3 * * *"},"similarity":{"params":{"neighbours":50}}}}"#,
        )
        .unwrap()
    }

    /// Refuses one stage or job.
    struct Refusing(&'static str, CheckError);

    impl Ask for Refusing {
        fn stage(&self, _: Role, stage: &str, _: &str) -> Result<Requirements, CheckError> {
            if stage == self.0 { Err(self.1.clone()) } else { Ok(Requirements::columns([])) }
        }

        fn job(&self, kind: Kind, _: &str) -> Result<(), (String, String)> {
            match &self.1 {
                CheckError::Invalid(error) if kind.as_str() == self.0 => {
                    Err((error.path.clone(), error.message.clone()))
                }
                _ => Ok(()),
            }
        }
    }

    /// Remembers what it was asked.
    #[derive(Default)]
    struct Asked(RefCell<Vec<String>>);

    impl Ask for Asked {
        fn stage(&self, _: Role, stage: &str, params: &str) -> Result<Requirements, CheckError> {
            self.0.borrow_mut().push(format!("{stage} {params}"));
            Ok(Requirements::columns([]))
        }

        fn job(&self, kind: Kind, params: &str) -> Result<(), (String, String)> {
            self.0.borrow_mut().push(format!("{} {params}", kind.as_str()));
            Ok(())
        }
    }

    fn refused(bad: &'static str, error: CheckError) -> ApiError {
        all(&config(), &Refusing(bad, error)).unwrap_err()
    }

    #[test]
    fn every_stage_and_job_is_asked_with_its_params() {
        let asked = Asked::default();
        all(&config(), &asked).unwrap();
        let expected = [
            "latest {}",
            r#"hot_items {"x":1}"#,
            "linear {}",
            r#"freshness {"decay_days":7}"#,
            r#"similarity {"neighbours":50}"#,
            "profiles {}",
        ];
        assert_eq!(*asked.0.borrow(), expected);
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
    fn that_nobody_could_tell_is_no_fault_of_the_config() {
        let error = refused("linear", CheckError::Unavailable("no answer".to_owned()));
        assert_eq!((error.code, error.field, &*error.message), (Code::StoreUnavailable, None, "no answer"));
    }

    #[test]
    fn a_param_is_named_by_its_path() {
        let invalid = |path: &str| CheckError::Invalid(ParamError { path: path.into(), message: "no".into() });
        let field = |path: &str| refused("freshness", invalid(path)).field.unwrap();
        assert_eq!(field("/decay_days"), "config.rerank.rules[0].params.decay_days");
        assert_eq!(field("/list/1/a~1b~0"), "config.rerank.rules[0].params.list[1].a/b~");
        assert_eq!(field(""), "config.rerank.rules[0].params");
        let of_job = |path: &str| refused("similarity", invalid(path));
        assert_eq!(of_job("/neighbours").field.unwrap(), "config.jobs.similarity.params.neighbours");
        assert_eq!(
            (of_job("").field.unwrap(), of_job("").code),
            ("config.jobs.similarity.params".to_owned(), Code::InvalidConfig)
        );
    }

    #[test]
    fn groups_are_checked_alone_and_with_those_of_other_layers() {
        let running = |name: &str, layer: &str, config: Value| -> Running {
            serde_json::from_value(json!({
                "experiment_id": name, "layer": layer, "buckets": [[0, 1]], "start_ms": 0,
                "groups": [
                    {"group_id": "control", "traffic_ratio": 0.5},
                    {"group_id": "new", "traffic_ratio": 0.5, "config": config},
                ],
            }))
            .unwrap()
        };
        let base = json!({"recall": {"strategies": [{"name": "latest"}]}});
        let ranker = running("one", "ranking", json!({"rank": {"model": "deepfm"}}));
        let rule = running("two", "reranking", json!({"rerank": {"rules": [{"name": "diversity"}]}}));
        let asked = Asked::default();
        with_experiments(&base, &[ranker.clone(), rule], &asked).unwrap();
        // Each once: the first alone, the second, both.
        assert_eq!(*asked.0.borrow(), ["latest {}", "deepfm {}", "linear {}", "diversity {}"]);
        // Each of these breaks no rule alone.
        let score = running("one", "ranking", json!({"recall": {"merge": {"method": "score"}}}));
        let k = running("two", "reranking", json!({"recall": {"merge": {"k": 7}}}));
        let fault = with_experiments(&base, &[score.clone(), k.clone()], &asked).unwrap_err();
        assert_eq!(fault.groups, [(0, 1), (1, 1)]);
        let beside = Running { layer: "ranking".to_owned(), ..k };
        with_experiments(&base, &[score, beside], &asked).unwrap();

        let refusing = Refusing("deepfm", CheckError::Unknown(vec!["linear".into()]));
        let fault = with_experiments(&base, std::slice::from_ref(&ranker), &refusing).unwrap_err();
        assert_eq!(fault.groups, [(0, 1)]);
        let error = fault.of_scenario(&[ranker]);
        assert_eq!(error.field.as_deref(), Some("config.rank.model"));
        assert_eq!(
            error.message,
            "no rank model is called `deepfm`; known: linear; so it is in the group `new` of `one`"
        );
        let broken = running("one", "ranking", json!({"recall": null}));
        let error = with_experiments(&base, &[broken], &asked).unwrap_err().error;
        assert_eq!((error.field.as_deref(), &*error.message), (Some("config.recall"), "missing field `recall`"));
    }

    /// A component that asks for a part of the user and a field.
    struct Curious(&'static str);

    impl Ask for Curious {
        fn stage(&self, _: Role, stage: &str, _: &str) -> Result<Requirements, CheckError> {
            let price = ("price", ColumnKind::Numeric);
            let curious = Requirements { personal: personal(&[UserPart::Id]), ..Requirements::columns([price]) };
            Ok(if stage == self.0 { curious } else { Requirements::columns([]) })
        }

        fn job(&self, _: Kind, _: &str) -> Result<(), (String, String)> {
            Ok(())
        }
    }

    #[test]
    fn a_component_sees_what_the_scenario_lets_it_see() {
        let with = |components: &str| -> Config {
            let text = format!(
                r#"{{"recall":{{"strategies":[{{"name":"latest"}}]}},"rerank":{{"rules":[{{"name":"acme/boost"}}]}},"components":{components}}}"#
            );
            serde_json::from_str(&text).unwrap()
        };
        let refused = |components: &str| all(&with(components), &Curious("acme/boost")).unwrap_err();
        let error = refused("{}");
        assert_eq!(error.field.as_deref(), Some("config.rerank.rules[0].name"));
        assert_eq!(error.message, "`acme/boost` reads `id` of the user, which config.components.user does not have");
        let error = refused(r#"{"user":["id"],"fields":["cost"]}"#);
        assert_eq!(error.message, "`acme/boost` reads the field `price`, which config.components.fields does not have");
        assert!(all(&with(r#"{"user":["id"],"fields":["price"]}"#), &Curious("acme/boost")).is_ok());
        assert!(all(&with(r#"{"user":["id"]}"#), &Curious("acme/boost")).is_ok());
        assert!(all(&with("{}"), &Curious("latest")).is_ok(), "stages that are built in see everything");
    }
}

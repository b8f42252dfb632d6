//! The arguments of `funnelweb component`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use funnelweb_core::limits;

use super::ServerArgs;

/// `funnelweb component`
#[derive(Debug, Subcommand)]
pub enum Component {
    /// Write a project to begin with.
    New(New),
    /// Build a project, and put its manifest into what was built.
    Build(Folder),
    /// Run what was built over the samples of its project, as a server would.
    Test(Test),
    /// Record requests of a tenant's users, to test components with; no server may be
    /// running on the data directory.
    Record(Record),
    /// Upload what was built.
    Push(Push),
    /// Replay requests of a scenario through a version.
    Certify(Certify),
    /// Have a version run wherever configs name the component without a version.
    Activate(Activate),
    /// Try a version on a part of the requests.
    Canary(Canary),
    /// Have the version run that did before.
    Rollback(Named),
    /// Have a component not run any more.
    Disable(Named),
    /// Have a disabled component run again.
    Enable(Named),
    /// Delete a version that does not run, or a disabled component.
    Delete(Delete),
    /// Show what a version printed lately.
    Logs(Version),
    /// Show what a version did.
    Usage(Version),
    /// Show the tenant's components.
    List(Tenant),
}

/// `funnelweb component new`
#[derive(Debug, Args)]
pub struct New {
    /// The component's name, and the folder's: letters, digits, `_` and `-`, a letter
    /// first.
    pub name: String,
    /// The language it is written in.
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    pub lang: Language,
    /// What it is to be.
    #[arg(long, value_enum)]
    pub world: World,
    /// Whose it will be.
    #[arg(long, default_value = funnelweb_demo::TENANT)]
    pub tenant: String,
}

/// The language of a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Language {
    /// With cargo.
    Rust,
    /// With npm.
    Javascript,
    /// With pip.
    Python,
}

impl Language {
    /// The folder of its templates.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Javascript => "javascript",
            Self::Python => "python",
        }
    }
}

/// What a component is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum World {
    /// A recall channel.
    Recall,
    /// A ranker.
    Rank,
    /// A rerank rule.
    Rerank,
    /// A stream operator.
    Aggregate,
}

impl From<World> for funnelweb_admission::World {
    fn from(world: World) -> Self {
        match world {
            World::Recall => Self::Recall,
            World::Rank => Self::Rank,
            World::Rerank => Self::Rerank,
            World::Aggregate => Self::Aggregate,
        }
    }
}

/// A component's project.
#[derive(Debug, Args)]
pub struct Folder {
    /// The project: where `component.json` is.
    #[arg(default_value = ".")]
    pub folder: PathBuf,
}

/// `funnelweb component test`
#[derive(Debug, Args)]
pub struct Test {
    #[command(flatten)]
    pub project: Folder,
    /// A file with a scenario whose config says the features, and the params of samples
    /// that have none.
    #[arg(long, value_name = "FILE")]
    pub scenario: Option<PathBuf>,
    /// Certify it with these requests, which `record` wrote, in place of the demo's.
    #[arg(long, value_name = "FILE")]
    pub requests: Option<PathBuf>,
    /// What the server takes of an upload, as its operator says it with `upload_bytes`;
    /// what is larger fails.
    #[arg(long, value_name = "BYTES", default_value_t = limits::COMPONENT_BYTES)]
    pub upload_bytes: usize,
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `funnelweb component record`
#[derive(Debug, Args)]
pub struct Record {
    /// Whose requests they are.
    #[arg(long)]
    pub tenant: String,
    /// The scenario that is asked.
    #[arg(long)]
    pub scenario: String,
    /// How many, one a second.
    #[arg(long, default_value_t = 20)]
    pub count: u32,
    /// Where they go: JSON, one a line, compressed by gzip.
    #[arg(long, default_value = "requests.jsonl.gz")]
    pub out: PathBuf,
    /// Where embedded stores and caches are.
    #[arg(long, default_value = "data")]
    pub data_dir: PathBuf,
    #[command(flatten)]
    pub manifest: super::ManifestArgs,
}

/// Whose components a command is about, and in which server.
#[derive(Debug, Args)]
pub struct Tenant {
    /// Whose they are.
    #[arg(long)]
    pub tenant: String,
    #[command(flatten)]
    pub server: ServerArgs,
}

/// A component of a server's tenant.
#[derive(Debug, Args)]
pub struct Named {
    /// The component.
    pub name: String,
    #[command(flatten)]
    pub of: Tenant,
}

/// `funnelweb component delete`
#[derive(Debug, Args)]
pub struct Delete {
    /// The component.
    pub name: String,
    /// One version of it; without, all of it.
    pub version: Option<String>,
    #[command(flatten)]
    pub of: Tenant,
}

/// A version of a component of a server's tenant.
#[derive(Debug, Args)]
pub struct Version {
    /// The component.
    pub name: String,
    /// The version.
    pub version: String,
    #[command(flatten)]
    pub of: Tenant,
}

/// `funnelweb component push`
#[derive(Debug, Args)]
pub struct Push {
    /// The component, or the folder of its project.
    #[arg(default_value = ".")]
    pub path: PathBuf,
    /// Certify it then on requests of this scenario.
    #[arg(long, value_name = "SCENARIO")]
    pub certify: Option<String>,
    /// A JSON object: the params that it is certified with, in place of those of the
    /// scenario's config.
    #[arg(long, value_name = "JSON", requires = "certify")]
    pub params: Option<String>,
    /// Activate it then.
    #[arg(long)]
    pub activate: bool,
    #[command(flatten)]
    pub of: Tenant,
}

/// `funnelweb component certify`
#[derive(Debug, Args)]
pub struct Certify {
    #[command(flatten)]
    pub version: Version,
    /// The scenario whose requests are replayed.
    #[arg(long)]
    pub scenario: String,
    /// A JSON object: the params that it is given, in place of those of the scenario's
    /// config.
    #[arg(long, value_name = "JSON")]
    pub params: Option<String>,
}

/// `funnelweb component activate`
#[derive(Debug, Args)]
pub struct Activate {
    #[command(flatten)]
    pub version: Version,
    /// Whether or not it passed certification, as an operator may.
    #[arg(long = "override", requires = "operator_token")]
    pub is_override: bool,
    /// What the operator of the server shows.
    #[arg(long, env = "FUNNELWEB_OPERATOR_TOKEN", hide_env_values = true)]
    pub operator_token: Option<String>,
}

/// `funnelweb component canary`
#[derive(Debug, Args)]
pub struct Canary {
    /// The component.
    pub name: String,
    /// The version that is tried.
    #[arg(required_unless_present = "end", requires = "percent")]
    pub version: Option<String>,
    /// For how many of 100: above 0, at most 100.
    #[arg(long)]
    pub percent: Option<f64>,
    /// Whether users or requests are drawn.
    #[arg(long = "of", value_enum, default_value_t = ShareOf::Users)]
    pub share: ShareOf,
    /// End the canary that there is.
    #[arg(long, conflicts_with_all = ["version", "percent"])]
    pub end: bool,
    #[command(flatten)]
    pub of: Tenant,
}

/// What is drawn for a canary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ShareOf {
    /// A user always has the version or never.
    Users,
    /// Each request.
    Requests,
}

impl ShareOf {
    /// As the API says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::Requests => "requests",
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn parse(line: &str) -> Result<Component, String> {
        let line = format!("funnelweb component {line}");
        match Cli::try_parse_from(line.split_whitespace()).map_err(|error| error.to_string())?.command {
            Command::Component(component) => Ok(*component),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn a_project_has_a_world_and_is_in_rust_unless_said_otherwise() {
        let Component::New(new) = parse("new --world rerank boost").unwrap() else { panic!() };
        assert_eq!(
            (new.name.as_str(), new.lang, new.world, new.tenant.as_str()),
            ("boost", Language::Rust, World::Rerank, "demo")
        );
        let Component::New(new) = parse("new boost --lang python --world recall --tenant acme").unwrap() else {
            panic!()
        };
        assert_eq!((new.lang, new.world, new.tenant.as_str()), (Language::Python, World::Recall, "acme"));
        for line in
            ["new boost", "new --world rerank", "new boost --world features", "new boost --world rank --lang go"]
        {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn commands_of_a_folder_are_about_this_one() {
        let Component::Build(build) = parse("build").unwrap() else { panic!() };
        assert_eq!(build.folder, PathBuf::from("."));
        let Component::Test(test) = parse("test boost --scenario feed.json --json").unwrap() else { panic!() };
        assert_eq!((test.project.folder, test.scenario, test.json), ("boost".into(), Some("feed.json".into()), true));
        assert_eq!(test.upload_bytes, limits::COMPONENT_BYTES);
        let Component::Test(test) = parse("test --upload-bytes 20000000").unwrap() else { panic!() };
        assert_eq!(test.upload_bytes, 20_000_000);
        let Component::Push(push) = parse("push --tenant acme --certify feed --activate").unwrap() else { panic!() };
        assert_eq!((push.path, push.certify.as_deref(), push.activate), (".".into(), Some("feed"), true));
        assert_eq!(push.of.server.url, "http://127.0.0.1:3000");
        assert!(parse("push").is_err());
        assert!(parse("push --tenant acme --params {}").is_err());
    }

    #[test]
    fn an_override_needs_a_token() {
        let Component::Activate(activate) = parse("activate boost 1.0.0 --tenant acme").unwrap() else { panic!() };
        assert!(!activate.is_override);
        let line = "activate boost 1.0.0 --tenant acme --override";
        assert!(parse(line).is_err());
        let Component::Activate(activate) = parse(&format!("{line} --operator-token secret")).unwrap() else {
            panic!()
        };
        assert_eq!((activate.is_override, activate.operator_token.as_deref()), (true, Some("secret")));
        assert_eq!((activate.version.name.as_str(), activate.version.version.as_str()), ("boost", "1.0.0"));
    }

    #[test]
    fn a_canary_is_begun_or_ended() {
        let Component::Canary(canary) = parse("canary boost 1.1.0 --percent 2.5 --of requests --tenant acme").unwrap()
        else {
            panic!()
        };
        assert_eq!(
            (canary.version.as_deref(), canary.percent, canary.share),
            (Some("1.1.0"), Some(2.5), ShareOf::Requests)
        );
        let Component::Canary(canary) = parse("canary boost --end --tenant acme").unwrap() else { panic!() };
        assert!(canary.end && canary.version.is_none());
        for line in
            ["canary boost", "canary boost 1.1.0", "canary boost 1.1.0 --percent 5 --end", "canary boost --percent 5"]
        {
            assert!(parse(&format!("{line} --tenant acme")).is_err(), "{line}");
        }
    }

    #[test]
    fn the_rest_name_a_component_or_a_version() {
        for line in [
            "rollback boost",
            "disable boost",
            "enable boost",
            "logs boost 1.0.0",
            "usage boost 1.0.0",
            "list",
            "certify boost 1.0.0 --scenario feed --params {}",
        ] {
            assert!(parse(&format!("{line} --tenant acme --token x --json")).is_ok(), "{line}");
            assert!(parse(line).is_err(), "{line}");
        }
        assert!(parse("certify boost 1.0.0 --tenant acme").is_err());
        assert!(parse("logs boost --tenant acme").is_err());
    }
}

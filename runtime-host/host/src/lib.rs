//! The host: one process that reads `spin.toml`, opens the stores, compiles the
//! components, and serves them, behind a command line. [`app`] is where everything is wired
//! together. The binary is [`main`] and an allocator: what waits is compiled where it is
//! awaited, and that is here.

pub mod app;
mod cli;
mod commands;
pub mod evaluation;
mod follower;
mod inside;
mod precompute;
mod replay;
mod reports;
mod revalidate;
pub mod runtime_config;
pub mod sample;
pub mod sample_events;
pub mod stores;
mod sync;
mod works;

use std::process::ExitCode;

use clap::Parser as _;

/// Does what the process's arguments say.
#[must_use]
pub fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|command| command == app::ADMIT) {
        // It bounds itself before anything else is done here.
        return funnelweb_admission::child::run(arguments);
    }
    let cli = cli::Cli::parse();
    cli::log(cli.log_format);
    match commands::run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("funnelweb: {error:#}");
            ExitCode::FAILURE
        }
    }
}

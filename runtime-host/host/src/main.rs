//! `funnelweb`: the product's command line.
#![allow(clippy::print_stdout, reason = "a command line writes to standard output")]

mod cli;
mod commands;

use std::process::ExitCode;

use clap::Parser as _;
use funnelweb::app::ADMIT;

/// A request makes thousands of small allocations on one thread and frees some
/// of them on another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|command| command == ADMIT) {
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

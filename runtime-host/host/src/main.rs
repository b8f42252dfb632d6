//! `funnelweb`: the product's command line.
#![allow(clippy::print_stdout, reason = "a command line writes to standard output")]

mod cli;
mod commands;

use std::process::ExitCode;

use clap::Parser as _;

/// A request makes thousands of small allocations on one thread and frees some
/// of them on another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
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

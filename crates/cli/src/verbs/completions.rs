//! `completions`: a script with which a shell completes this command.

use clap::CommandFactory as _;
use serde_json::json;

use crate::{
    args::{Context, LowArgs},
    exit::CliError,
    output::Report,
};

/// Print a completion script for a shell
///
/// For bash: `glovebox completions bash > ~/.local/share/bash-completion/completions/glovebox`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell
    shell: clap_complete::Shell,
}

/// Prints the script.
pub(crate) fn run(args: Args, _: &Context) -> Result<Report, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut LowArgs::command(), "glovebox", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    let document = json!({ "shell": args.shell.to_string(), "script": script });
    Ok(Report::done(script.trim_end(), document))
}

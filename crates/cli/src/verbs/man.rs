//! `man`: the manual pages, made from the same definitions as `--help`.

use std::path::PathBuf;

use clap::CommandFactory as _;
use serde_json::json;

use crate::{
    args::{Context, LowArgs},
    exit::CliError,
    files::{self, Readers, Taken},
    output::Report,
};

/// Print the manual page, or write all pages into a folder
///
/// To read it: `glovebox man | man -l -`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write `glovebox.1` and a page for each verb here
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Prints or writes.
pub(crate) fn run(args: Args, _: &Context) -> Result<Report, CliError> {
    let mut command = LowArgs::command();
    command.build();
    let Some(folder) = args.out else {
        let page = String::from_utf8_lossy(&render(&command, "glovebox")?).into_owned();
        return Ok(Report::done(page.trim_end(), json!({ "page": page })));
    };
    let mut names = vec![("glovebox".to_owned(), command.clone())];
    names.extend(command.get_subcommands().map(|verb| (format!("glovebox-{}", verb.get_name()), verb.clone())));
    let mut written = Vec::new();
    for (name, command) in names {
        let path = folder.join(format!("{name}.1"));
        files::write(&path, &render(&command, &name)?, Readers::Everyone, Taken::Replace)?;
        written.push(path);
    }
    let words = format!("{} pages written to {}", written.len(), folder.display());
    Ok(Report::done(words, json!({ "pages": written })))
}

fn render(command: &clap::Command, name: &str) -> Result<Vec<u8>, CliError> {
    // A page carries its name, and the library wants one that lives as long as the program.
    let name: &'static str = name.to_owned().leak();
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone().name(name)).render(&mut page).map_err(CliError::Stdout)?;
    Ok(page)
}

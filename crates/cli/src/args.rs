//! The command line as typed.
//!
//! Each verb's options stand in the verb's own file, beside what they mean and their tests; here is only what all verbs share.
//! [`Context`] is what the shared options mean.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::{
    exit::CliError,
    home::{Home, HomeError},
    output::Report,
    passphrase::Passphrase,
    verbs,
};

/// Compute together on data that nobody may see, and prove afterwards what happened.
///
/// Results go to standard output, everything else to standard error. The exit status is 0 when the command did what it was
/// asked, 1 when something was refused (a policy, a rule, a signature, a person), and 2 on any other error.
#[derive(Debug, Parser)]
#[command(name = "glovebox", version, max_term_width = 100)]
pub(crate) struct LowArgs {
    /// The party's directory; `~/.glovebox` if neither this nor the environment names one
    #[arg(long, global = true, value_name = "DIR", env = "GLOVEBOX_HOME", hide_env_values = true)]
    home: Option<PathBuf>,
    /// Print one JSON document instead of words
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Read the passphrase of the party's keys from the first line of this file instead of asking
    #[arg(long, global = true, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one, made once from the command line")]
enum Verb {
    Init(verbs::init::Args),
    Identity(verbs::identity::Args),
    Seal(verbs::seal::Args),
    Check(verbs::check::Args),
    Agree(verbs::agree::Args),
    Offer(verbs::offer::Args),
    Run(verbs::run::Args),
    Open(verbs::open::Args),
    Verify(verbs::verify::Args),
    Log(verbs::log::Args),
    Status(verbs::status::Args),
    Revoke(verbs::revoke::Args),
    Rotate(verbs::rotate::Args),
    Secret(verbs::secret::Args),
    Up(verbs::up::Args),
    Demo(verbs::demo::Args),
    Evidence(verbs::evidence::Args),
    Endorsements(verbs::endorsements::Args),
    Doctor(verbs::doctor::Args),
    Completions(verbs::completions::Args),
    Man(verbs::man::Args),
}

/// What the shared options mean.
pub(crate) struct Context {
    /// The party's directory.
    pub(crate) home: Home,
    /// Whether one JSON document is wanted.
    pub(crate) json: bool,
    /// Where passphrases come from.
    pub(crate) passphrase: Passphrase,
}

impl LowArgs {
    /// Whether the verb runs until the user asks it to end, so that this is how it is done.
    pub(crate) const fn serves(&self) -> bool {
        match &self.verb {
            Verb::Up(_) => true,
            Verb::Endorsements(args) => args.serves(),
            _ => false,
        }
    }

    /// Does what was asked.
    pub(crate) async fn run(self) -> Result<Report, CliError> {
        let context = Context::of(self.home, self.json, self.passphrase_file)?;
        match self.verb {
            Verb::Init(args) => verbs::init::run(args, &context),
            Verb::Identity(args) => verbs::identity::run(args, &context),
            Verb::Seal(args) => verbs::seal::run(args, &context).await,
            Verb::Check(args) => verbs::check::run(args, &context).await,
            Verb::Agree(args) => verbs::agree::run(args, &context).await,
            Verb::Offer(args) => verbs::offer::run(args, &context).await,
            Verb::Run(args) => verbs::run::run(args, &context).await,
            Verb::Open(args) => verbs::open::run(args, &context),
            Verb::Verify(args) => verbs::verify::run(args, &context),
            Verb::Log(args) => verbs::log::run(args, &context).await,
            Verb::Status(args) => verbs::status::run(args, &context).await,
            Verb::Revoke(args) => verbs::revoke::run(args, &context).await,
            Verb::Rotate(args) => verbs::rotate::run(args, &context).await,
            Verb::Secret(args) => verbs::secret::run(args, &context).await,
            Verb::Up(args) => verbs::up::run(args, &context).await,
            Verb::Demo(args) => verbs::demo::run(args).await,
            Verb::Evidence(args) => verbs::evidence::run(args, &context).await,
            Verb::Endorsements(args) => verbs::endorsements::run(args, &context).await,
            Verb::Doctor(args) => verbs::doctor::run(args, &context),
            Verb::Completions(args) => verbs::completions::run(args, &context),
            Verb::Man(args) => verbs::man::run(args, &context),
        }
    }
}

impl Context {
    fn of(home: Option<PathBuf>, json: bool, passphrase_file: Option<PathBuf>) -> Result<Context, HomeError> {
        let passphrase = passphrase_file.map_or(Passphrase::Terminal, Passphrase::File);
        Ok(Context { home: Home::at(home)?, json, passphrase })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_options_are_consistent() {
        LowArgs::command().debug_assert();
    }
}

//! The party's command, `glovebox`.
//!
//! A verb is a function from what was typed to a [`output::Report`] or a [`exit::CliError`]; one table turns either into an exit
//! status. What a party keeps lies in one directory ([`home`]); what it says to a broker goes through [`room`], which gives out
//! no key before the broker's Evidence has been appraised.
//!
//! Deliberately absent: an account, a daemon, a configuration file, and SQL or cryptography of its own.

mod args;
mod evidence;
mod exit;
mod files;
mod heads;
mod home;
mod interrupt;
mod launch;
mod output;
mod passphrase;
mod progress;
mod room;
mod storage;
mod terms;
mod verbs;
mod wallet;

use std::process::ExitCode;

use clap::Parser as _;

use crate::{args::LowArgs, exit::CliError};

fn main() -> ExitCode {
    let args = LowArgs::parse();
    let json = args.json;
    let outcome = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(interruptible(args)),
        Err(error) => Err(CliError::Runtime(error)),
    };
    match outcome {
        Ok(report) => {
            report.print(json);
            report.status.into()
        }
        Err(error) => {
            output::fail(&error, json);
            error.status().into()
        }
    }
}

/// The verb, ended early when the user asks; dropping it undoes what it began.
async fn interruptible(args: LowArgs) -> Result<output::Report, CliError> {
    if args.serves() {
        return args.run().await;
    }
    let asked = tokio::spawn(interrupt::asked());
    tokio::select! {
        outcome = args.run() => match outcome {
            Err(_) if interrupt::is_asked() => Err(interrupt::error()),
            outcome => outcome,
        },
        _ = asked => Err(interrupt::error()),
    }
}

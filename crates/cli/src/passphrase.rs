//! Where a passphrase comes from: a file that the user names, or the terminal. Never an argument or the environment, which
//! other processes may read.

use std::{io::IsTerminal as _, path::PathBuf};

use zeroize::Zeroizing;

use crate::files::{self, FileError};

/// A source of passphrases.
#[derive(Debug, Clone)]
pub(crate) enum Passphrase {
    /// The first line of this file.
    File(PathBuf),
    /// The terminal, if there is one.
    Terminal,
    /// A test's.
    #[cfg(test)]
    Given(&'static str),
    /// A test that has none.
    #[cfg(test)]
    Never,
}

/// Why there is no passphrase.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PassphraseError {
    /// Nobody can be asked.
    #[error(
        "the keys are protected by a passphrase and there is no terminal to ask for it\nhint: pass `--passphrase-file FILE`"
    )]
    NoTerminal,
    /// The terminal failed.
    #[error("the passphrase could not be read from the terminal: {0}")]
    Terminal(std::io::ErrorKind),
    /// Two entries differ.
    #[error("the two passphrases differ; nothing was written")]
    Differ,
    /// Nothing was entered.
    #[error("the passphrase is empty\nhint: leave out `--passphrase` to store the keys without one")]
    Empty,
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Passphrase {
    /// The passphrase of existing keys.
    pub(crate) fn ask(&self, party: &str) -> Result<Zeroizing<String>, PassphraseError> {
        match self {
            Passphrase::File(path) => first_line(path),
            Passphrase::Terminal => prompt(&format!("passphrase of `{party}`: ")),
            #[cfg(test)]
            Passphrase::Given(text) => Ok(Zeroizing::new((*text).to_owned())),
            #[cfg(test)]
            Passphrase::Never => Err(PassphraseError::NoTerminal),
        }
    }

    /// A new passphrase; on a terminal it is asked for twice.
    pub(crate) fn choose(&self, party: &str) -> Result<Zeroizing<String>, PassphraseError> {
        let chosen = self.ask(party)?;
        if chosen.is_empty() {
            return Err(PassphraseError::Empty);
        }
        if matches!(self, Passphrase::Terminal) && *prompt("once more: ")? != *chosen {
            return Err(PassphraseError::Differ);
        }
        Ok(chosen)
    }

    #[cfg(test)]
    pub(crate) fn given(text: &'static str) -> Passphrase {
        Passphrase::Given(text)
    }

    #[cfg(test)]
    pub(crate) fn never() -> Passphrase {
        Passphrase::Never
    }
}

fn first_line(path: &std::path::Path) -> Result<Zeroizing<String>, PassphraseError> {
    let text = Zeroizing::new(files::read_text(path)?);
    Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()))
}

fn prompt(words: &str) -> Result<Zeroizing<String>, PassphraseError> {
    // A command in a script is not to wait for somebody who is not asked in sight.
    if !std::io::stdin().is_terminal() && !std::io::stderr().is_terminal() {
        return Err(PassphraseError::NoTerminal);
    }
    match rpassword::prompt_password(words) {
        Ok(text) => Ok(Zeroizing::new(text)),
        // A process without a controlling terminal cannot open it.
        Err(error) if error.raw_os_error() == Some(NO_SUCH_DEVICE) => Err(PassphraseError::NoTerminal),
        Err(error) => Err(PassphraseError::Terminal(error.kind())),
    }
}

/// ENXIO.
const NO_SUCH_DEVICE: i32 = 6;

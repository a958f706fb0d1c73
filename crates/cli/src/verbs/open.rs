//! `open`: opens a sealed result with the party's own key.
//!
//! Results are padded with line feeds so that their size tells little. A file named `*.result` is given without that padding;
//! any other age file, whose last bytes may mean something, is given as it is.

use std::{
    fs::File,
    io::{Seek as _, Write as _},
    path::{Path, PathBuf},
};

use envelope::blob::{self, BlobError};
use serde_json::json;
use zeroize::Zeroizing;

use crate::{
    args::Context,
    exit::CliError,
    files::{FileError, Readers, Taken, Unnamed},
    home::Opener,
    interrupt::Abortable,
    output::Report,
};

/// Open a sealed result with this party's key
///
/// Only a recipient that the agreement lists can. Any age tool can do the same with `glovebox identity --age-secret`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The sealed file
    file: PathBuf,
    /// Write to this file instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace the output file if it exists
    #[arg(long, requires = "out")]
    force: bool,
    /// Keep a result's padding: the very bytes that any age tool gives
    #[arg(long)]
    padded: bool,
}

/// Opens the file.
pub(crate) fn run(args: Args, context: &Context) -> Result<Report, CliError> {
    let wallet = context.home.wallet(&context.passphrase)?;
    let opener = Opener::of(&context.home, &wallet, &context.passphrase);
    let is_result = args.file.extension().is_some_and(|ending| ending == "result");
    // Whatever else is wrong is told before the place for the result, which is told last.
    File::open(&args.file).map_err(|source| FileError::Read { path: args.file.clone(), source })?;
    if args.file.extension().is_some_and(|ending| ending == "receipt") {
        return Err(CliError::OpenReceipt(args.file));
    }
    let strip = is_result && !args.padded;
    match &args.out {
        Some(out) => to_file(&args.file, out, strip, args.force, &opener),
        None => to_stdout(&args.file, strip, context.json, &opener),
    }
}

fn to_file(file: &Path, out: &Path, strip: bool, force: bool, opener: &Opener) -> Result<Report, CliError> {
    if out.exists() && !force {
        return Err(CliError::Taken { path: out.to_owned(), option: "--out" });
    }
    let mut aside = Unnamed::create(out, Readers::Owner)?;
    let mut bytes = open_with(file, opener, |sealed, identity| {
        let failed = |error: std::io::Error| BlobError::Io(error.kind());
        aside.file().rewind().and_then(|()| aside.file().set_len(0)).map_err(failed)?;
        blob::open_blob(sealed, identity, Abortable(aside.file()))
    })?;
    if strip {
        let failed = |source| FileError::Write { path: out.to_owned(), source };
        let mut padded = Zeroizing::new(Vec::new());
        aside.file().rewind().map_err(failed)?;
        std::io::copy(aside.file(), &mut *padded).map_err(failed)?;
        bytes = blob::unpad(&padded).len() as u64;
        aside.file().set_len(bytes).map_err(failed)?;
    }
    aside.name(if force { Taken::Replace } else { Taken::Keep })?;
    let words = format!("opened into {} ({bytes} bytes)", out.display());
    Ok(Report::done(words, json!({ "file": out, "bytes": bytes })))
}

fn to_stdout(file: &Path, strip: bool, json: bool, opener: &Opener) -> Result<Report, CliError> {
    let mut plain = Zeroizing::new(Vec::new());
    open_with(file, opener, |sealed, identity| {
        plain.clear();
        blob::open_blob(sealed, identity, Bounded(&mut plain))
    })?;
    let shown = if strip { blob::unpad(&plain) } else { &plain };
    if json {
        let document = match std::str::from_utf8(shown) {
            Ok(text) => json!({ "bytes": shown.len(), "text": text }),
            Err(_) => json!({ "bytes": shown.len(), "base64url": envelope::text::encode(shown) }),
        };
        return Ok(Report::done("", document));
    }
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(shown).and_then(|()| stdout.flush()).map_err(CliError::Stdout)?;
    Ok(Report::done("", json!(null)))
}

/// Opens with the first of the party's identities that the file is sealed to.
fn open_with(
    path: &Path,
    opener: &Opener,
    mut open: impl FnMut(&File, &blob::Identity) -> Result<u64, BlobError>,
) -> Result<u64, CliError> {
    for identity in opener.identities() {
        let file = File::open(path).map_err(|source| FileError::Read { path: path.to_owned(), source })?;
        match open(&file, identity) {
            Err(BlobError::OtherRecipients) => {}
            Err(BlobError::Io(_)) if crate::interrupt::is_asked() => return Err(CliError::Interrupted),
            Err(source) => return Err(CliError::Open { path: path.to_owned(), source }),
            Ok(bytes) => return Ok(bytes),
        }
    }
    Err(CliError::NotARecipient(path.to_owned()))
}

/// A buffer that refuses to grow beyond [`MAX_SHOWN`].
struct Bounded<'a>(&'a mut Vec<u8>);

impl std::io::Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_SHOWN {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// More than this many bytes go to a file, not to standard output: nothing is shown before the last byte is authenticated.
const MAX_SHOWN: usize = 256 << 20;

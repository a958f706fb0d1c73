//! `init`: makes a party.

use serde_json::json;

use crate::{
    args::Context,
    exit::CliError,
    home::check_name,
    output::Report,
    wallet::{self, Wallet, WalletError},
};

/// Make a party: a signing key and a recipient key, kept in the party's directory
///
/// Prints the public identity, one line that other parties need. Keys that exist are never overwritten.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What this party is called here; others may call it otherwise
    #[arg(long, value_name = "NAME")]
    name: String,
    /// Protect the keys with a passphrase, asked for on the terminal or read from `--passphrase-file`
    #[arg(long)]
    passphrase: bool,
}

/// Makes the party.
pub(crate) fn run(args: Args, context: &Context) -> Result<Report, CliError> {
    check_name(&args.name)?;
    let path = context.home.identity_file();
    if path.exists() {
        let (name, _) = wallet::public(&path)?;
        return Err(WalletError::Exists { home: context.home.path().to_owned(), name }.into());
    }
    let wallet = Wallet::generate(&args.name)?;
    let passphrase = args.passphrase.then(|| context.passphrase.choose(&args.name)).transpose();
    let passphrase = passphrase.map_err(WalletError::from)?;
    context.home.make()?;
    wallet.store(&path, passphrase.as_ref().map(|text| text.as_str()))?;
    let line = wallet.identity().to_string();
    let document = json!({
        "name": wallet.name(),
        "identity": line,
        "signing_key": wallet.key().to_string(),
        "recipient": wallet.identity().recipient(),
        "file": path,
    });
    crate::output::note(format!("party `{}` made; its keys are in {}", wallet.name(), path.display()));
    if passphrase.is_none() {
        crate::output::note("keep a copy of that file in a safe place: whoever has it is this party");
    }
    Ok(Report::done(line, document))
}

//! A party's own keys: one signing key and one age identity, in one file.
//!
//! The file is JSON and readable by its owner only. With a passphrase the age identity is protected as `age -p` does it, and
//! the signing seed is sealed to that identity, so one passphrase opens both and any age tool can open the first half.
//! What the file says of itself is compared with the keys inside before anything is done with them.
//!
//! Deliberately absent: key derivation of our own, agents, and a way to print the signing key.

use std::path::{Path, PathBuf};

use agreement::documents::{Identity, IdentityError};
use envelope::{
    PublicKey, SigningKey,
    blob::{self, BlobError},
    canonical::{self, CanonicalError},
    text,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    files::{self, FileError, Readers, Taken},
    passphrase::{Passphrase, PassphraseError},
};

/// A party's keys in memory.
pub(crate) struct Wallet {
    name: String,
    signing: SigningKey,
    age: blob::Identity,
    identity: Identity,
}

/// Why a wallet cannot be opened or made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WalletError {
    /// There is none.
    #[error("there is no party in `{home}`\nhint: make one with `glovebox init --name NAME`, or point `--home` at another", home = .0.display())]
    Missing(PathBuf),
    /// There is one already.
    #[error("`{home}` holds the party `{name}` already; its keys were not touched\nhint: use another `--home`, or `glovebox rotate` to replace this party's keys", home = .home.display())]
    Exists {
        /// The home.
        home: PathBuf,
        /// Its party.
        name: String,
    },
    /// Others may read the file.
    #[error("`{path}` may be read by others (mode {mode:o})\nhint: `chmod 600 {path}`", path = .path.display())]
    Exposed {
        /// Which.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The file is not an identity file.
    #[error("`{path}` is not a party's identity file", path = .path.display())]
    Form {
        /// Which.
        path: PathBuf,
        /// Why.
        source: CanonicalError,
    },
    /// The keys in the file are damaged or do not belong to the identity that it states.
    #[error("the keys in `{path}` are damaged\nhint: restore the file from a backup", path = .0.display())]
    Damaged(PathBuf),
    /// The passphrase could not be had.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
    /// The protected half does not open.
    #[error("cannot open the protected keys")]
    Blob(#[from] BlobError),
    /// The keys do not make an identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Reading or writing failed.
    #[error(transparent)]
    File(#[from] FileError),
}

/// The identity file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format: Format,
    name: String,
    identity: Identity,
    secrets: Secrets,
}

#[derive(Serialize, Deserialize)]
enum Format {
    #[serde(rename = "glovebox identity v1")]
    V1,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
enum Secrets {
    /// The file's mode is the only protection.
    Plain { age: Zeroizing<String>, signing: Zeroizing<String> },
    /// `age` is an armoured file that the passphrase opens; `signing` an age file sealed to it, base64url.
    Passphrase { age: String, signing: String },
}

impl Wallet {
    /// New keys from the operating system's generator.
    pub(crate) fn generate(name: &str) -> Result<Wallet, WalletError> {
        Wallet::of(name, SigningKey::generate(), blob::Identity::generate())
    }

    /// Reads the file; asks for the passphrase only where there is one.
    pub(crate) fn open(path: &Path, passphrase: &Passphrase) -> Result<Wallet, WalletError> {
        check_mode(path)?;
        let stored = read(path)?;
        let damaged = || WalletError::Damaged(path.to_owned());
        let (age, seed) = match &stored.secrets {
            Secrets::Plain { age, signing } => {
                let seed = text::decode(signing).map(Zeroizing::new).ok_or_else(damaged)?;
                (age.parse().map_err(|_| damaged())?, seed)
            }
            Secrets::Passphrase { age, signing } => {
                let age = blob::unprotect_identity(age, &passphrase.ask(&stored.name)?)?;
                let sealed = text::decode(signing).ok_or_else(damaged)?;
                let mut seed = Zeroizing::new(Vec::with_capacity(64));
                blob::open_blob(sealed.as_slice(), &age, &mut *seed).map_err(|_| damaged())?;
                (age, seed)
            }
        };
        let seed: Zeroizing<[u8; 32]> = Zeroizing::new(seed.as_slice().try_into().map_err(|_| damaged())?);
        let wallet = Wallet::of(&stored.name, SigningKey::from_seed(&seed), age)?;
        if wallet.identity == stored.identity { Ok(wallet) } else { Err(damaged()) }
    }

    /// Writes the file; a taken name is kept.
    pub(crate) fn store(&self, path: &Path, passphrase: Option<&str>) -> Result<(), WalletError> {
        let seed = self.signing.seed();
        let secrets = match passphrase {
            None => Secrets::Plain { age: self.age.to_text(), signing: Zeroizing::new(text::encode(seed.as_slice())) },
            Some(passphrase) => {
                let mut sealed = Vec::new();
                blob::seal_blob(seed.as_slice(), &mut sealed, &[self.age.recipient()])?;
                Secrets::Passphrase {
                    age: blob::protect_identity(&self.age, passphrase)?,
                    signing: text::encode(&sealed),
                }
            }
        };
        let stored = Stored { format: Format::V1, name: self.name.clone(), identity: self.identity.clone(), secrets };
        let bytes = canonical::to_vec(&stored).map(Zeroizing::new);
        let bytes = bytes.map_err(|source| WalletError::Form { path: path.to_owned(), source })?;
        Ok(files::write(path, &bytes, Readers::Owner, Taken::Keep)?)
    }

    /// The name that the party gave itself.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The public identity.
    pub(crate) const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The key that signs statements.
    pub(crate) const fn signing(&self) -> &SigningKey {
        &self.signing
    }

    /// Its public half.
    pub(crate) const fn key(&self) -> &PublicKey {
        self.identity.signing()
    }

    /// The identity that opens results.
    pub(crate) const fn age(&self) -> &blob::Identity {
        &self.age
    }

    fn of(name: &str, signing: SigningKey, age: blob::Identity) -> Result<Wallet, WalletError> {
        let identity = Identity::vouch(&signing, &age.recipient().to_string())?;
        Ok(Wallet { name: name.to_owned(), signing, age, identity })
    }
}

/// The name and public identity in a file, without its secrets and so without a passphrase.
pub(crate) fn public(path: &Path) -> Result<(String, Identity), WalletError> {
    let stored = read(path)?;
    Ok((stored.name, stored.identity))
}

/// Whether the file asks for a passphrase.
pub(crate) fn is_protected(path: &Path) -> Result<bool, WalletError> {
    Ok(matches!(read(path)?.secrets, Secrets::Passphrase { .. }))
}

fn read(path: &Path) -> Result<Stored, WalletError> {
    if !path.exists() {
        return Err(WalletError::Missing(path.parent().unwrap_or(path).to_owned()));
    }
    let bytes = Zeroizing::new(files::read(path)?);
    canonical::from_slice_loose(&bytes).map_err(|source| WalletError::Form { path: path.to_owned(), source })
}

fn check_mode(path: &Path) -> Result<(), WalletError> {
    use std::os::unix::fs::PermissionsExt as _;
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
            Err(WalletError::Exposed { path: path.to_owned(), mode: metadata.permissions().mode() & 0o777 })
        }
        // Reading it says what is wrong.
        Ok(_) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_wallet_round_trips_and_never_overwrites() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("identity.json");
        let wallet = Wallet::generate("hospital").unwrap();
        wallet.store(&path, None).unwrap();
        let opened = Wallet::open(&path, &Passphrase::never()).unwrap();
        assert_eq!((opened.identity(), opened.name()), (wallet.identity(), "hospital"));
        assert!(matches!(wallet.store(&path, None), Err(WalletError::File(FileError::Exists(_)))));
    }

    #[test]
    fn a_passphrase_protects_both_keys() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("identity.json");
        let wallet = Wallet::generate("hospital").unwrap();
        wallet.store(&path, Some("correct horse")).unwrap();
        let text = files::read_text(&path).unwrap();
        assert!(!text.contains("AGE-SECRET-KEY") && !text.contains(&text::encode(wallet.signing.seed().as_slice())));
        assert_eq!(Wallet::open(&path, &Passphrase::given("correct horse")).unwrap().identity(), wallet.identity());
        assert!(matches!(
            Wallet::open(&path, &Passphrase::given("wrong")),
            Err(WalletError::Blob(BlobError::WrongPassphrase))
        ));
    }

    #[test]
    fn keys_of_somebody_else_or_a_readable_file_are_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let (one, two) = (directory.path().join("1"), directory.path().join("2"));
        Wallet::generate("a").unwrap().store(&one, None).unwrap();
        Wallet::generate("b").unwrap().store(&two, None).unwrap();
        let mut mixed = read(&one).unwrap();
        mixed.identity = public(&two).unwrap().1;
        files::write(&one, &canonical::to_vec(&mixed).unwrap(), Readers::Owner, Taken::Replace).unwrap();
        assert!(matches!(Wallet::open(&one, &Passphrase::never()), Err(WalletError::Damaged(_))));
        std::fs::set_permissions(&two, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Wallet::open(&two, &Passphrase::never()), Err(WalletError::Exposed { mode: 0o644, .. })));
    }
}

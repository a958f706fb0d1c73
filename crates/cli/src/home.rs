//! What a party keeps between commands, and where.
//!
//! ```text
//! identity.json                 the party's keys (0600)
//! retired/*.json                keys that `rotate` replaced; they still open older results (0600)
//! broker                        the default broker, `KEY@HOST:PORT`
//! parties/NAME.identity         other parties' public identities
//! datasets/NAME/VERSION.json    signed manifests of one's own datasets
//! keys/DIGEST.age               data keys, sealed to one's own age identity, by manifest (0600)
//! agreements/DIGEST.json        proposals with their manifests, as exchanged between parties
//! consents/DIGEST.json          one's own signed consents, by agreement, until one revokes it
//! runs/DIGEST.json              runs that one has submitted, so that `run --resume` can fetch them
//! heads/*.checkpoint            the last head seen of each log
//! ```
//!
//! The directory is its owner's only. Every file is written whole or not at all, and what is not the program's own record is
//! never overwritten. Deliberately absent: a database, and anything that could not be mended with an editor.

use std::path::{Path, PathBuf};

use agreement::{
    documents::{BrokerTerms, Consent, Identity, IdentityError, Manifest, Proposal},
    shape::{self, Named},
};
use envelope::{
    Digest, DigestError, PublicKey,
    blob::{self, BlobError},
    canonical::{self, CanonicalError},
    keys::TableKey,
    statement::{Addressed, Envelope, Signed, StatementError},
    text::Bytes32,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use crate::{
    files::{self, FileError, Readers, Taken},
    output,
    passphrase::Passphrase,
    wallet::{Wallet, WalletError},
};

/// The directory of one party.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    path: PathBuf,
}

/// Which broker, and where it listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BrokerAddress {
    /// Its signing key: its identity.
    pub(crate) key: PublicKey,
    /// `host:port`.
    pub(crate) address: String,
}

/// The key of one dataset version, as its owner keeps it.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum DataKey {
    /// 32 bytes, base64url.
    Table {
        /// The key.
        key: Zeroizing<String>,
    },
    /// The age identity that opens the blob.
    Blob {
        /// `AGE-SECRET-KEY-1…`.
        identity: Zeroizing<String>,
    },
}

/// An agreement with its manifests and the consents gathered so far: the file that parties send one another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exchange {
    /// The format's name and version.
    pub(crate) format: ExchangeFormat,
    /// The agreement and its manifests.
    pub(crate) proposal: Proposal,
    /// Signed consents, still to be handed to the broker.
    #[serde(default)]
    pub(crate) consents: Vec<Envelope>,
}

/// The format of an [`Exchange`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ExchangeFormat {
    /// This one.
    #[serde(rename = "glovebox proposal v1")]
    V1,
}

/// A run that this party submitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SubmittedRun {
    /// The agreement's digest.
    pub(crate) agreement: Digest,
    /// The computation.
    pub(crate) computation: String,
    /// The signed run.
    pub(crate) statement: Envelope,
}

/// Why something in the home is not to be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HomeError {
    /// Neither an option nor the environment says where it is.
    #[error("no home directory is known\nhint: pass `--home DIR` or set GLOVEBOX_HOME")]
    NoHome,
    /// A name that is not an identifier.
    #[error(
        "`{0}` cannot be a name\nhint: use lower-case letters, digits, `_` and, for parties, `-`, beginning with a letter; not too long"
    )]
    Name(String),
    /// No such contact.
    #[error(
        "no party `{0}` is known\nhint: `glovebox identity {0} --add LINE` with the line that its `glovebox init` printed"
    )]
    NoContact(String),
    /// Neither a file nor a contact.
    #[error(
        "no file `{0}`, and no party of that name\nhint: name the file with the line that the party's `glovebox init` printed, or add that line with `glovebox identity NAME --add LINE`"
    )]
    NoIdentity(String),
    /// No such agreement.
    #[error(
        "no agreement `{0}` is known here\nhint: `glovebox status` lists them; `glovebox agree FILE` takes in another party's file"
    )]
    NoAgreement(String),
    /// No such run.
    #[error("no run `{0}` of this party is known here\nhint: submit one with `glovebox run NAME --computation C`")]
    NoRun(Digest),
    /// Several agreements of one name.
    #[error("`{name}` names several agreements: {}\nhint: give the digest of one; `glovebox status` says which is in force", digests(.found))]
    Ambiguous {
        /// What was given.
        name: String,
        /// The candidates.
        found: Vec<Digest>,
    },
    /// No key for a dataset version.
    #[error(
        "the key of `{dataset}` (manifest {manifest}) is not in this home\nhint: it was sealed with another `--home`; deposit it from there"
    )]
    NoKey {
        /// The dataset.
        dataset: String,
        /// Its manifest.
        manifest: Digest,
    },
    /// No default broker.
    #[error(
        "no broker was named and this home has no default\nhint: pass `--broker FILE` with the `broker.json` that `glovebox up` or the broker's operator made"
    )]
    NoBroker,
    /// Neither `KEY@HOST:PORT` nor a broker's file.
    #[error(
        "`{0}` does not name a broker\nhint: give its `broker.json`, or `ed25519:…@HOST:PORT`, as `glovebox up` and the broker's operator print it"
    )]
    BrokerForm(String),
    /// A file does not hold what it should.
    #[error("`{path}` cannot be read as {what}", path = .path.display())]
    Document {
        /// Which.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
        /// Why.
        source: CanonicalError,
    },
    /// A statement in a file does not verify.
    #[error("`{path}` is not what its owner signed", path = .path.display())]
    Statement {
        /// Which.
        path: PathBuf,
        /// Why.
        source: StatementError,
    },
    /// A manifest that somebody else signed.
    #[error("the manifest `{path}` names the owner `{owner}` but is signed by `{signer}`\nhint: ask the owner for the manifest again", path = .path.display())]
    ManifestSigner {
        /// Which.
        path: PathBuf,
        /// Who owns.
        owner: PublicKey,
        /// Who signed.
        signer: PublicKey,
    },
    /// An identity line that is none.
    #[error("`{path}` holds no party's identity", path = .path.display())]
    Contact {
        /// Which.
        path: PathBuf,
        /// Why.
        source: IdentityError,
    },
    /// A digest that is none.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// A data key cannot be opened or sealed.
    #[error("cannot open the stored data key `{path}`", path = .path.display())]
    Key {
        /// Which.
        path: PathBuf,
        /// Why.
        source: BlobError,
    },
    /// Reading or writing failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// The party's own keys.
    #[error(transparent)]
    Wallet(#[from] WalletError),
}

impl Home {
    /// The directory that was given, or `.glovebox` in the user's home. Nothing is made.
    pub(crate) fn at(given: Option<PathBuf>) -> Result<Home, HomeError> {
        match given.or_else(|| std::env::home_dir().map(|home| home.join(".glovebox"))) {
            Some(path) if path.as_os_str().is_empty() => Err(HomeError::NoHome),
            Some(path) => Ok(Home { path }),
            None => Err(HomeError::NoHome),
        }
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the directory, for its owner only.
    pub(crate) fn make(&self) -> Result<(), HomeError> {
        Ok(files::private_directory(&self.path)?)
    }

    /// Where the party's keys lie.
    pub(crate) fn identity_file(&self) -> PathBuf {
        self.path.join("identity.json")
    }

    /// Where the keys lie that `rotate` is about to use.
    pub(crate) fn next_identity_file(&self) -> PathBuf {
        self.path.join("identity.next.json")
    }

    /// The party's keys.
    pub(crate) fn wallet(&self, passphrase: &Passphrase) -> Result<Wallet, HomeError> {
        Ok(Wallet::open(&self.identity_file(), passphrase)?)
    }

    /// Where retired keys lie.
    pub(crate) fn retired_directory(&self) -> PathBuf {
        self.path.join("retired")
    }

    /// The files of retired keys.
    pub(crate) fn retired(&self) -> Vec<PathBuf> {
        list(&self.retired_directory(), "json")
    }

    /// The default broker.
    pub(crate) fn broker(&self) -> Result<BrokerAddress, HomeError> {
        let path = self.path.join("broker");
        if !path.exists() {
            return Err(HomeError::NoBroker);
        }
        files::read_text(&path)?.trim().parse()
    }

    /// Remembers the default broker.
    pub(crate) fn store_broker(&self, broker: &BrokerAddress) -> Result<(), HomeError> {
        let line = format!("{}@{}\n", broker.key, broker.address);
        Ok(files::write(&self.path.join("broker"), line.as_bytes(), Readers::Everyone, Taken::Replace)?)
    }

    /// Where a contact's identity lies.
    pub(crate) fn contact_file(&self, name: &str) -> PathBuf {
        self.path.join("parties").join(format!("{name}.identity"))
    }

    /// A contact's identity.
    pub(crate) fn contact(&self, name: &str) -> Result<Identity, HomeError> {
        check_name(name)?;
        let path = self.contact_file(name);
        if !path.exists() {
            return Err(HomeError::NoContact(name.to_owned()));
        }
        files::read_text(&path)?.parse().map_err(|source| HomeError::Contact { path, source })
    }

    /// All contacts by name; files that hold none are left out.
    pub(crate) fn contacts(&self) -> Vec<(String, Identity)> {
        let files = list(&self.path.join("parties"), "identity");
        let names = files.iter().filter_map(|path| path.file_stem()?.to_str().map(str::to_owned));
        names.filter_map(|name| self.contact(&name).ok().map(|identity| (name, identity))).collect()
    }

    /// Keeps a signed manifest of one's own.
    pub(crate) fn store_manifest(&self, manifest: &Signed<Manifest>) -> Result<PathBuf, HomeError> {
        let value = manifest.value();
        let path = self.dataset_directory(&value.name).join(format!("{}.json", value.version));
        let bytes = document(&path, "a manifest", manifest.envelope())?;
        files::write(&path, &bytes, Readers::Everyone, Taken::Keep)?;
        Ok(path)
    }

    /// The signed manifests of one dataset of one's own, oldest first.
    pub(crate) fn manifests(&self, name: &str) -> Result<Vec<Signed<Manifest>>, HomeError> {
        let files = list(&self.dataset_directory(name), "json");
        let mut manifests = files.iter().map(|path| read_manifest(path)).collect::<Result<Vec<_>, _>>()?;
        manifests.sort_by_key(|manifest| manifest.value().version);
        Ok(manifests)
    }

    /// The names of one's own datasets.
    pub(crate) fn datasets(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path.join("datasets")) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// Keeps the key of a dataset version, sealed to the party's own age identity; returns its file.
    pub(crate) fn store_key(&self, manifest: &Digest, key: &DataKey, wallet: &Wallet) -> Result<PathBuf, HomeError> {
        let path = self.key_file(manifest);
        let plain = Zeroizing::new(document(&path, "a data key", key)?);
        let mut sealed = Vec::new();
        blob::seal_blob(plain.as_slice(), &mut sealed, &[wallet.age().recipient()])
            .map_err(|source| HomeError::Key { path: path.clone(), source })?;
        files::write(&path, &sealed, Readers::Owner, Taken::Keep)?;
        Ok(path)
    }

    /// The key of a dataset version, opened with the party's current or retired keys.
    pub(crate) fn key(&self, dataset: &str, manifest: &Digest, opener: &Opener) -> Result<DataKey, HomeError> {
        let path = self.key_file(manifest);
        if !path.exists() {
            return Err(HomeError::NoKey { dataset: dataset.to_owned(), manifest: *manifest });
        }
        let sealed = files::read(&path)?;
        let plain = opener.open(&sealed).map_err(|source| HomeError::Key { path: path.clone(), source })?;
        canonical::from_slice_loose(&plain).map_err(|source| HomeError::Document { path, what: "a data key", source })
    }

    /// Whether the key of a dataset version is here.
    pub(crate) fn has_key(&self, manifest: &Digest) -> bool {
        self.key_file(manifest).exists()
    }

    /// Keeps a proposal under its digest; consents that came with it are not kept.
    pub(crate) fn store_proposal(&self, digest: &Digest, proposal: &Proposal) -> Result<PathBuf, HomeError> {
        let path = self.path.join("agreements").join(format!("{}.json", digest.hex()));
        let exchange = Exchange { format: ExchangeFormat::V1, proposal: proposal.clone(), consents: Vec::new() };
        let bytes = document(&path, "a proposal", &exchange)?;
        files::write(&path, &bytes, Readers::Everyone, Taken::Replace)?;
        Ok(path)
    }

    /// All proposals with their digests. A file that was tampered with is an error, not a gap.
    pub(crate) fn proposals(&self) -> Result<Vec<(Digest, Proposal)>, HomeError> {
        let files = list(&self.path.join("agreements"), "json");
        files.iter().map(|path| read_exchange(path).map(|(digest, exchange)| (digest, exchange.proposal))).collect()
    }

    /// The proposal of a name or digest; of several of one name, the one that no other names as its predecessor.
    pub(crate) fn proposal(&self, name: &str) -> Result<(Digest, Proposal), HomeError> {
        let all = self.proposals()?;
        let mut found: Vec<_> = match name.parse::<Digest>() {
            Ok(digest) => all.iter().filter(|(found, _)| *found == digest).collect(),
            Err(_) => all.iter().filter(|(_, proposal)| proposal.agreement.name == name).collect(),
        };
        if found.len() > 1 {
            let is_replaced =
                |digest: &Digest| all.iter().any(|(_, other)| other.agreement.predecessor.as_ref() == Some(digest));
            found.retain(|(digest, _)| !is_replaced(digest));
        }
        match found.as_slice() {
            [one] => Ok((*one).clone()),
            [] => Err(HomeError::NoAgreement(name.to_owned())),
            several => Err(HomeError::Ambiguous {
                name: name.to_owned(),
                found: several.iter().map(|(digest, _)| *digest).collect(),
            }),
        }
    }

    /// Keeps a consent that this party signed.
    pub(crate) fn store_consent(&self, consent: &Signed<Addressed<Consent>>) -> Result<(), HomeError> {
        let path = self.consent_file(&consent.value().body.agreement);
        let bytes = document(&path, "a consent", consent.envelope())?;
        Ok(files::write(&path, &bytes, Readers::Everyone, Taken::Replace)?)
    }

    /// Forgets a consent: its agreement was revoked.
    pub(crate) fn remove_consent(&self, agreement: &Digest) -> Result<(), HomeError> {
        let path = self.consent_file(agreement);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(FileError::Write { path, source }.into())
            }
            _ => Ok(()),
        }
    }

    /// The agreements that the party with this key consented to and that are not over: neither expired, nor revoked by this party, nor replaced
    /// by another that it consented to.
    pub(crate) fn consented(&self, party: &PublicKey, now: Timestamp) -> Result<Vec<(Digest, Proposal)>, HomeError> {
        let mut found = Vec::new();
        for (digest, proposal) in self.proposals()? {
            let path = self.consent_file(&digest);
            if !path.exists() {
                continue;
            }
            let envelope: Envelope = read_document(&path, "a consent")?;
            match Signed::<Addressed<Consent>>::verify(&envelope, party) {
                Ok(consent) if consent.value().body.agreement == digest => found.push((digest, proposal)),
                // Of a key that this party had before, or of another agreement: no consent to this one.
                Ok(_) | Err(StatementError::Signer { .. }) => {}
                Err(source) => return Err(HomeError::Statement { path, source }),
            }
        }
        let replaced: Vec<Digest> = found.iter().filter_map(|(_, proposal)| proposal.agreement.predecessor).collect();
        found.retain(|(digest, proposal)| now <= proposal.agreement.expires && !replaced.contains(digest));
        Ok(found)
    }

    /// Keeps a submitted run.
    pub(crate) fn store_run(&self, id: &Digest, run: &SubmittedRun) -> Result<(), HomeError> {
        let path = self.run_file(id);
        Ok(files::write(&path, &document(&path, "a run", run)?, Readers::Everyone, Taken::Replace)?)
    }

    /// A submitted run.
    pub(crate) fn run(&self, id: &Digest) -> Result<SubmittedRun, HomeError> {
        let path = self.run_file(id);
        if !path.exists() {
            return Err(HomeError::NoRun(*id));
        }
        read_document(&path, "a run")
    }

    /// Where the last head of a log lies; `log` is its verifier key.
    pub(crate) fn head_file(&self, log: &str) -> PathBuf {
        self.path.join("heads").join(format!("{}.checkpoint", Digest::of(log.as_bytes()).hex()))
    }

    fn key_file(&self, manifest: &Digest) -> PathBuf {
        self.path.join("keys").join(format!("{}.age", manifest.hex()))
    }

    fn consent_file(&self, agreement: &Digest) -> PathBuf {
        self.path.join("consents").join(format!("{}.json", agreement.hex()))
    }

    fn run_file(&self, id: &Digest) -> PathBuf {
        self.path.join("runs").join(format!("{}.json", id.hex()))
    }

    fn dataset_directory(&self, name: &str) -> PathBuf {
        self.path.join("datasets").join(name)
    }
}

/// The party's current age identity, and those that it had before.
pub(crate) struct Opener {
    identities: Vec<blob::Identity>,
}

impl Opener {
    /// Opens with the current keys and all retired ones that can be read with the same passphrase.
    pub(crate) fn of(home: &Home, wallet: &Wallet, passphrase: &Passphrase) -> Opener {
        let retired = home.retired().into_iter().filter_map(|path| Wallet::open(&path, passphrase).ok());
        let identities = std::iter::once(wallet.age().clone()).chain(retired.map(|wallet| wallet.age().clone()));
        Opener { identities: identities.collect() }
    }

    /// The identities, the current one first.
    pub(crate) fn identities(&self) -> &[blob::Identity] {
        &self.identities
    }

    fn open(&self, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, BlobError> {
        let mut last = BlobError::OtherRecipients;
        for identity in &self.identities {
            let mut plain = Zeroizing::new(Vec::with_capacity(sealed.len()));
            match blob::open_blob(sealed, identity, &mut *plain) {
                Ok(_) => return Ok(plain),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

impl DataKey {
    /// A table's key.
    pub(crate) fn table(key: &TableKey) -> DataKey {
        DataKey::Table { key: Zeroizing::new(envelope::text::encode(key.as_bytes())) }
    }

    /// The bytes that are deposited with a broker: a table's 32 bytes, or the text of a blob's age identity.
    pub(crate) fn deposit(&self) -> Option<Zeroizing<Vec<u8>>> {
        match self {
            DataKey::Table { key } => {
                let bytes = envelope::text::decode(key).map(Zeroizing::new)?;
                (bytes.len() == size_of::<Bytes32>()).then_some(bytes)
            }
            DataKey::Blob { identity } => Some(Zeroizing::new(identity.as_bytes().to_vec())),
        }
    }
}

impl std::str::FromStr for BrokerAddress {
    type Err = HomeError;

    fn from_str(text: &str) -> Result<BrokerAddress, HomeError> {
        let wrong = || HomeError::BrokerForm(text.chars().take(120).collect());
        let (key, address) = text.split_once('@').ok_or_else(wrong)?;
        let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
        if host.is_empty() || port.parse::<u16>().is_err() {
            return Err(wrong());
        }
        Ok(BrokerAddress { key: key.parse().map_err(|_| wrong())?, address: address.to_owned() })
    }
}

impl BrokerAddress {
    /// As named on the command line: `KEY@HOST:PORT`, or a file with the terms that a broker or `glovebox up` wrote.
    pub(crate) fn named(text: &str) -> Result<BrokerAddress, HomeError> {
        let path = Path::new(text);
        if text.contains('@') || !path.is_file() {
            return text.parse();
        }
        let terms = read_broker_terms(path)?;
        Ok(BrokerAddress { key: terms.key, address: terms.address })
    }
}

/// Reads what an agreement says of a broker.
pub(crate) fn read_broker_terms(path: &Path) -> Result<BrokerTerms, HomeError> {
    read_document(path, "a broker's terms")
}

/// Reads a manifest and requires its owner's signature.
pub(crate) fn read_manifest(path: &Path) -> Result<Signed<Manifest>, HomeError> {
    let envelope: Envelope = read_document(path, "a manifest")?;
    let signed =
        Signed::<Manifest>::open(&envelope).map_err(|source| HomeError::Statement { path: path.to_owned(), source })?;
    let (owner, signer) = (signed.value().owner, *signed.signer());
    if owner != signer {
        return Err(HomeError::ManifestSigner { path: path.to_owned(), owner, signer });
    }
    Ok(signed)
}

/// Reads a proposal, with the digest that its contents give it.
pub(crate) fn read_exchange(path: &Path) -> Result<(Digest, Exchange), HomeError> {
    let exchange: Exchange = read_document(path, "a proposal")?;
    let unwritable = |source| HomeError::Document { path: path.to_owned(), what: "a proposal", source };
    Ok((exchange.proposal.agreement.digest().map_err(unwritable)?, exchange))
}

/// Whether a text may name a party here.
pub(crate) fn check_name(name: &str) -> Result<(), HomeError> {
    shape::check_name(Named::Party, name).map_err(|_| HomeError::Name(output::plain(name).chars().take(80).collect()))
}

fn read_document<T: DeserializeOwned>(path: &Path, what: &'static str) -> Result<T, HomeError> {
    let bytes = files::read(path)?;
    canonical::from_slice_loose(&bytes).map_err(|source| HomeError::Document { path: path.to_owned(), what, source })
}

/// Canonical bytes.
fn document<T: Serialize>(path: &Path, what: &'static str, value: &T) -> Result<Vec<u8>, HomeError> {
    canonical::to_vec(value).map_err(|source| HomeError::Document { path: path.to_owned(), what, source })
}

fn list(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let named = |path: &PathBuf| path.extension().is_some_and(|found| found == ending);
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(named).collect();
    files.sort();
    files
}

fn digests(digests: &[Digest]) -> String {
    digests.iter().map(Digest::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_is_a_key_at_an_address() {
        let key = envelope::SigningKey::from_seed(&[1; 32]).public();
        let text = format!("{key}@localhost:7300");
        assert_eq!(text.parse::<BrokerAddress>().unwrap(), BrokerAddress { key, address: "localhost:7300".into() });
        for wrong in [
            "localhost:7300",
            "ed25519:x@localhost:1",
            &format!("{key}@localhost"),
            &format!("{key}@:1"),
            &format!("{key}@h:99999"),
        ] {
            assert!(matches!(wrong.parse::<BrokerAddress>(), Err(HomeError::BrokerForm(_))), "{wrong}");
        }
    }

    #[test]
    fn names_are_identifiers() {
        for name in ["a", "trial_2", "re-admissions"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", "A", "1a", "../x", "a b", "a/b", "a\u{202e}b", &"a".repeat(64)] {
            assert!(matches!(check_name(name), Err(HomeError::Name(_))), "{name}");
        }
    }

    #[test]
    fn a_data_key_opens_for_its_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::at(Some(directory.path().to_owned())).unwrap();
        let (mine, other) = (Wallet::generate("a").unwrap(), Wallet::generate("b").unwrap());
        let (manifest, key) = (Digest::of(b"m"), TableKey::from_bytes([7; 32]));
        home.store_key(&manifest, &DataKey::table(&key), &mine).unwrap();
        let opened = home.key("d", &manifest, &Opener::of(&home, &mine, &Passphrase::never())).unwrap();
        assert_eq!(opened.deposit().unwrap().as_slice(), &[7; 32]);
        let refused = home.key("d", &manifest, &Opener::of(&home, &other, &Passphrase::never()));
        assert!(matches!(refused, Err(HomeError::Key { source: BlobError::OtherRecipients, .. })));
    }
}

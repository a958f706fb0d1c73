//! From files to one examination: which platform's, with which Endorsements.
//!
//! Endorsements come from the files themselves, from a folder, or from a cache's directory, whose objects are checked again on the way. The
//! anchors are the makers' that ship inside. A platform whose Evidence rests on keys that nobody can ship says so.

use std::{fmt::Write as _, path::Path};

use attest::{
    Tier,
    detect::Kind,
    hygon,
    platform::{Genuine, Refusal},
    snp::{self, Generation, SigningKey, SnpEvidence, SnpPolicy, SnpUnfit, Tcb},
};
use endorsements::{AmdTcb, Anchors, ChipId, ObjectId, Product, Received, Store, StoreError};
use jiff::Timestamp;

use super::{
    elsewhere,
    gather::{GatherError, Pieces},
    parts::SnpParts,
    platforms,
};

/// What an examination came to.
pub(crate) struct Examined {
    /// What the Evidence is.
    pub(crate) kind: Kind,
    /// What it can count for at most, where its key is one that the person named.
    pub(crate) at_most: Option<Tier>,
    /// Genuine, or the first check that failed.
    pub(crate) outcome: Result<Genuine, Refused>,
}

/// The first check that failed.
#[derive(Debug)]
pub(crate) struct Refused {
    /// The step of the platform's list; `None` for an owner's expectation.
    pub(crate) step: Option<u8>,
    /// The word for it.
    pub(crate) code: String,
    /// In words, with causes, and with hints on lines of their own.
    pub(crate) words: String,
    /// What is genuine all the same, for showing: an owner's expectation refused it.
    pub(crate) shown: Option<Box<Genuine>>,
}

/// Where Endorsements come from besides the files themselves.
pub(crate) enum Shelf {
    /// Nowhere.
    None,
    /// A cache's directory.
    Cache(Store),
}

/// Why nothing was examined.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExamineError {
    /// The files.
    #[error(transparent)]
    Gather(#[from] GatherError),
    /// The cache.
    #[error("the directory of Endorsements cannot be used")]
    Store(#[from] StoreError),
    /// No Evidence among the files.
    #[error("{0}")]
    NoEvidence(String),
    /// A key that the person named, where none can be of use.
    #[error(
        "{kind}: its maker's authorities ship inside, so a key that you name has no place\nhint: leave `--key` out",
        kind = .0.words()
    )]
    KeyNoUse(Kind),
    /// A key that the person named, and that is none of the platform's.
    #[error("{kind}: a file named with `--key` does not hold {expected}", kind = .kind.words())]
    Key {
        /// What the Evidence is.
        kind: Kind,
        /// What its keys are.
        expected: &'static str,
    },
    /// Evidence whose appraisal needs what is not in a file.
    #[error("{kind}: {words}", kind = .kind.words())]
    Elsewhere {
        /// What it is.
        kind: Kind,
        /// What to do.
        words: &'static str,
    },
    /// A cache keeps nothing that this platform's appraisal could use.
    #[error(
        "{kind}: a cache of Endorsements has nothing for it, so what the cache has seen cannot count\nhint: leave `--endorsements` out, or name a folder of files",
        kind = .0.words()
    )]
    NoUse(Kind),
}

impl Shelf {
    /// A cache's directory, or a folder of files, which join the others.
    pub(crate) fn open(directory: Option<&Path>, pieces: &mut Pieces) -> Result<Shelf, ExamineError> {
        match directory {
            None => Ok(Shelf::None),
            Some(directory) if directory.join("objects").is_dir() => {
                Ok(Shelf::Cache(Store::open(directory, Anchors::shipped())?))
            }
            Some(directory) => {
                pieces.0.extend(Pieces::gather(&[directory.to_owned()])?.0);
                Ok(Shelf::None)
            }
        }
    }

    /// An object that counts now, as it was received.
    pub(super) fn received(&self, id: &ObjectId, now: Timestamp) -> Option<Received> {
        match self {
            Shelf::None => None,
            Shelf::Cache(store) => store.get(id, now).ok().map(|(received, _)| received),
        }
    }

    /// The bytes of an object that counts now.
    pub(super) fn get(&self, id: &ObjectId, now: Timestamp) -> Option<Vec<u8>> {
        self.received(id, now).map(|received| received.body)
    }

    /// What the number of an object may not be below, wherever the object comes from.
    pub(super) fn floor(&self, id: &ObjectId) -> Result<u32, Refused> {
        match self {
            Shelf::None => Ok(0),
            Shelf::Cache(store) => store.floor(id).map_err(|error| Refused::unfit("endorsements-unreadable", &error)),
        }
    }
}

/// Examines the Evidence among the pieces. With an owner's expectations of SEV-SNP, or the strict defaults.
pub(crate) fn examine(
    pieces: &Pieces,
    shelf: &Shelf,
    snp: &SnpPolicy,
    now: Timestamp,
) -> Result<Examined, ExamineError> {
    examine_under(pieces, shelf, snp, &[], now)
}

/// Examines the Evidence among the pieces, where `keys` are those of a TPM or a device that the person trusts, as their files hold them.
pub(crate) fn examine_under(
    pieces: &Pieces,
    shelf: &Shelf,
    snp: &SnpPolicy,
    keys: &[Vec<u8>],
    now: Timestamp,
) -> Result<Examined, ExamineError> {
    let piece = ORDER
        .iter()
        .find_map(|rank| pieces.0.iter().find(|piece| piece.kind.is_evidence() && rank(piece.kind)))
        .ok_or_else(|| ExamineError::NoEvidence(elsewhere::no_evidence(pieces)))?;
    let uses_a_cache =
        matches!(piece.kind, Kind::SnpReport(_) | Kind::SgxQuote(_) | Kind::TdxQuote(_) | Kind::HclReport);
    if matches!(shelf, Shelf::Cache(_)) && !uses_a_cache {
        return Err(ExamineError::NoUse(piece.kind));
    }
    let takes_keys = matches!(piece.kind, Kind::TpmQuote | Kind::KeystoneReport | Kind::CcaToken | Kind::PsaToken);
    if !keys.is_empty() && !takes_keys {
        return Err(ExamineError::KeyNoUse(piece.kind));
    }
    let wrong_key = |expected| ExamineError::Key { kind: piece.kind, expected };
    let mut at_most = None;
    let elsewhere = |words| Err(ExamineError::Elsewhere { kind: piece.kind, words });
    let outcome = match piece.kind {
        Kind::SnpReport(_) => sev_snp(&piece.bytes, pieces, shelf, snp, now),
        Kind::HygonReport => hygon_csv(&piece.bytes, pieces, now),
        Kind::SgxQuote(_) | Kind::TdxQuote(_) => platforms::intel(piece, pieces, shelf, now),
        Kind::HclReport => platforms::azure(&piece.bytes, pieces, shelf, snp, now),
        Kind::NitroDocument => platforms::nitro(&piece.bytes, now),
        Kind::NitroTpmDocument => platforms::nitro_tpm(&piece.bytes, now),
        Kind::NvidiaReport => platforms::nvidia(&piece.bytes, pieces, now),
        Kind::CcaToken | Kind::PsaToken if !keys.is_empty() || pieces.first(Kind::PublicKey).is_some() => {
            platforms::arm(piece, pieces, keys, now).ok_or_else(|| wrong_key("a public key in PEM or DER"))?
        }
        Kind::CcaToken | Kind::PsaToken => {
            return elsewhere(
                "its maker's keys are told to verifiers one by one\nhint: name the file of the attestation key that you trust, too (PEM)",
            );
        }
        Kind::TpmQuote if !keys.is_empty() => {
            // Nothing tells a chip's key from that of a TPM in software.
            at_most = Some(Tier::SoftwareTpm);
            let expected = "an attestation key: RSA of 2048 bits or more, or on P-256 or P-384, in PEM or DER";
            platforms::tpm(pieces, keys, now).ok_or_else(|| wrong_key(expected))?
        }
        Kind::TpmQuote if pieces.of(Kind::Certificates).next().is_some() => platforms::google(pieces, now),
        Kind::KeystoneReport if !keys.is_empty() => platforms::keystone(&piece.bytes, keys, now)
            .ok_or_else(|| wrong_key("a device's key of 32 bytes, as they are or in hexadecimal"))?,
        Kind::KeystoneReport => {
            return elsewhere(
                "its devices' keys are nobody's to ship\nhint: `glovebox evidence appraise --key FILE` takes a device's key that you trust, 32 bytes",
            );
        }
        Kind::TpmQuote => {
            return elsewhere(
                "nothing here vouches for its attestation key\nhint: `glovebox evidence appraise --key FILE` takes the key that you trust (PEM); a broker knows those that it enrolled",
            );
        }
        Kind::Evidence => {
            return elsewhere(
                "its attestation key is known to the broker that enrolled it\nhint: `glovebox agree` and `glovebox run` appraise it there; `glovebox evidence show` tells what is in it",
            );
        }
        Kind::NvidiaCollected => {
            return elsewhere(
                "it wraps reports of devices in a list\nhint: decode a device's `evidence` and `certificate` (base64) into files, and name those",
            );
        }
        Kind::ForeignEvidence => {
            return elsewhere(
                "it wraps the Evidence in a form of its own\nhint: take the quote or report out of it, and name that file",
            );
        }
        _ => return elsewhere("this version shows it and cannot appraise it\nhint: `glovebox evidence show FILE`"),
    };
    Ok(Examined { kind: piece.kind, at_most, outcome })
}

impl Refused {
    /// What a platform's examination refused.
    pub(crate) fn of(error: &impl Refusal) -> Refused {
        Refused { step: Some(error.step()), ..Refused::because(error.code(), told(error)) }
    }

    /// What an owner's expectation refused.
    pub(crate) fn unfit(code: &str, error: &dyn std::error::Error) -> Refused {
        Refused::because(code, told(error))
    }

    /// What has no step, in words of its own.
    pub(crate) fn because(code: &str, words: impl Into<String>) -> Refused {
        Refused { step: None, code: code.to_owned(), words: words.into(), shown: None }
    }

    /// A genuine report that the expectations of SEV-SNP refused, with what a policy can say to admit it.
    pub(super) fn snp(unfit: &SnpUnfit, genuine: Genuine) -> Refused {
        let mut refused = Refused::unfit(unfit.code(), unfit);
        if let SnpUnfit::Generation(generation) = unfit {
            refused.words = format!(
                "the chip is of the generation {}, which is accepted only where a policy names it",
                generation.name()
            );
        }
        let line = match unfit {
            SnpUnfit::Generation(generation) => {
                Some(format!("generations = [\"{}\"]", generation.name().to_ascii_lowercase()))
            }
            SnpUnfit::SigningKey(SigningKey::Vlek) => Some("signing_keys = [\"vlek\"]".to_owned()),
            SnpUnfit::Vmpl(level) => Some(format!("vmpl = [{level}]")),
            SnpUnfit::SigningKey(SigningKey::Vcek)
            | SnpUnfit::BelowFloor { .. }
            | SnpUnfit::AboveCommitted
            | SnpUnfit::Reserved
            | SnpUnfit::Migration
            | SnpUnfit::AliasCheck
            | SnpUnfit::PlatformInfo(_)
            | SnpUnfit::RevocationList => None,
        };
        if let Some(line) = line {
            let _ = write!(
                refused.words,
                "\nhint: to admit it, write `[snp]` and below it `{line}` in a policy (`--policy FILE`)"
            );
        }
        refused.shown = Some(Box::new(genuine));
        refused
    }
}

/// An error with its causes in one line, hints after it.
fn told(error: &dyn std::error::Error) -> String {
    let (mut words, mut hints) = (Vec::new(), Vec::new());
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        let mut lines = text.lines();
        words.extend(lines.next().map(str::to_owned));
        hints.extend(lines.map(str::to_owned));
        next = error.source();
    }
    std::iter::once(words.join(": ")).chain(hints).collect::<Vec<_>>().join("\n")
}

fn sev_snp(
    report: &[u8],
    pieces: &Pieces,
    shelf: &Shelf,
    policy: &SnpPolicy,
    now: Timestamp,
) -> Result<Genuine, Refused> {
    let parts = SnpParts::gather(report, pieces, shelf, now);
    let SnpParts { key, chain, list } = &parts;
    let evidence = SnpEvidence { report, key: key.as_deref(), chain: chain.as_deref(), list: list.as_deref() };
    let report = snp::examine(&evidence, &snp::anchors(), now).map_err(|error| Refused::of(&error))?;
    let genuine = report.genuine().clone();
    report.admit(policy).map_err(|unfit| Refused::snp(&unfit, genuine))
}

/// The name of the certificate that a report needs, if the chip is of this family.
pub(crate) fn vcek(report: &[u8], product: Product) -> Option<ObjectId> {
    let report = snp::Report::parse(report).ok()?;
    let (generation, size) = match product {
        Product::Milan => (Generation::Milan, 64),
        Product::Genoa => (Generation::Genoa, 64),
        Product::Turin => (Generation::Turin, 8),
    };
    let tcb = Tcb::read(report.reported_tcb, generation)?;
    let chip = ChipId::of(product, &hex::encode(report.chip_id.get(..size)?))?;
    let tcb =
        AmdTcb { fmc: tcb.fmc, boot_loader: tcb.bootloader, tee: tcb.tee, snp: tcb.snp, microcode: tcb.microcode };
    Some(ObjectId::Vcek { product, chip, tcb })
}

fn hygon_csv(report: &[u8], pieces: &Pieces, now: Timestamp) -> Result<Genuine, Refused> {
    // Hygon's own root is pinned; a file of the same size that is not it is the intermediate.
    let of_size = |size: usize| {
        pieces
            .of(Kind::HygonCertificate)
            .find(|piece| piece.bytes.len() == size && piece.bytes != hygon::HYGON_ROOT)
            .map(|piece| piece.bytes.clone())
            .unwrap_or_default()
    };
    let evidence = hygon::CsvEvidence { report: report.to_vec(), cek: of_size(2_084), hsk: of_size(832) };
    let genuine = hygon::examine(&evidence, hygon::HYGON_ROOT, now).map_err(|error| Refused::of(&error))?;
    platforms::logged(genuine, ["rtmr1", "rtmr2", "rtmr3", "rtmr4"], pieces)
}

/// Which Evidence speaks for the machine where there are several: what binds others comes first.
const ORDER: [fn(Kind) -> bool; 4] = [
    |kind| matches!(kind, Kind::HclReport),
    |kind| matches!(kind, Kind::NitroTpmDocument | Kind::NitroDocument),
    |kind| !matches!(kind, Kind::TpmQuote | Kind::ForeignEvidence),
    |_| true,
];

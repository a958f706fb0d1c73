//! Files by what they are: a person names some files or a folder, and each finds its role by its content.
//!
//! Two bounds hold: so many files and so many bytes are read, whatever a folder holds.

use std::{
    fs,
    path::{Path, PathBuf},
};

use attest::{
    certificate::{Certificate, RevocationList},
    detect::{Kind, detect},
};

use super::written::unwritten;
use crate::files::{self, FileError};

/// One file and what it seems to be.
pub(crate) struct Piece {
    pub(crate) path: PathBuf,
    pub(crate) kind: Kind,
    pub(crate) bytes: Vec<u8>,
    /// How the file holds them, if not as they are.
    pub(crate) form: Option<&'static str>,
}

impl Piece {
    /// What it is, for people.
    pub(crate) fn words(&self) -> String {
        let form = self.form.map(|form| format!(", {form}")).unwrap_or_default();
        format!("{}{form}", self.kind.words())
    }
}

/// All that was named.
#[derive(Default)]
pub(crate) struct Pieces(pub(crate) Vec<Piece>);

/// Why files were not gathered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GatherError {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// More than is read.
    #[error(
        "there are more than {MAX_FILES} files or {MAX_BYTES} bytes in what was named\nhint: name the files that belong together"
    )]
    TooMany,
}

impl Pieces {
    /// Reads files, and the files of folders (not of folders within them).
    pub(crate) fn gather(paths: &[PathBuf]) -> Result<Pieces, GatherError> {
        let mut pieces = Pieces::default();
        for path in paths {
            if path.is_dir() {
                let failed = |source| FileError::Read { path: path.clone(), source };
                let mut inside: Vec<PathBuf> =
                    fs::read_dir(path).map_err(failed)?.flatten().map(|entry| entry.path()).collect();
                inside.sort();
                inside.retain(|path| path.is_file());
                for path in inside.iter().take(MAX_FILES + 1) {
                    pieces.add(path)?;
                }
            } else {
                pieces.add(path)?;
            }
        }
        Ok(pieces)
    }

    fn add(&mut self, path: &Path) -> Result<(), GatherError> {
        let bytes = files::read(path)?;
        let total: usize = self.0.iter().map(|piece| piece.bytes.len()).sum();
        if self.0.len() >= MAX_FILES || total + bytes.len() > MAX_BYTES {
            return Err(GatherError::TooMany);
        }
        let piece = match detect(&bytes) {
            Kind::Unknown => unwritten(&bytes).map(|(kind, bytes, form)| (kind, bytes, Some(form))),
            _ => None,
        };
        let (kind, bytes, form) = piece.unwrap_or_else(|| (detect(&bytes), bytes, None));
        self.0.push(Piece { path: path.to_owned(), kind, bytes, form });
        Ok(())
    }

    /// Those of one kind.
    pub(crate) fn of(&self, kind: Kind) -> impl Iterator<Item = &Piece> {
        self.0.iter().filter(move |piece| piece.kind == kind)
    }

    /// The first of one kind.
    pub(crate) fn first(&self, kind: Kind) -> Option<&[u8]> {
        self.of(kind).next().map(|piece| piece.bytes.as_slice())
    }

    /// Every certificate, with its subject's common name, in the order of the files.
    pub(crate) fn certificates(&self) -> Vec<(String, Vec<u8>)> {
        let mut found = Vec::new();
        for piece in self.of(Kind::Certificates) {
            for der in Certificate::split(&piece.bytes).into_iter().flatten() {
                let name = Certificate::parse(&der).map(|certificate| certificate.common_name()).unwrap_or_default();
                found.push((name, der));
            }
        }
        found
    }

    /// The bundle whose first certificate has this common name.
    pub(crate) fn bundle(&self, name: &str) -> Option<&[u8]> {
        let first = |bundle: &[u8]| {
            let ders = Certificate::split(bundle).ok()?;
            Certificate::parse(ders.first()?).ok().map(|certificate| certificate.common_name())
        };
        self.of(Kind::Certificates)
            .find(|piece| first(&piece.bytes).as_deref() == Some(name))
            .map(|piece| piece.bytes.as_slice())
    }

    /// The revocation list of an issuer, DER.
    pub(crate) fn list_of(&self, issuer: impl Fn(&str) -> bool) -> Option<&[u8]> {
        self.of(Kind::RevocationList)
            .find(|piece| RevocationList::claimed_issuer(&piece.bytes).is_some_and(|name| issuer(&name)))
            .map(|piece| piece.bytes.as_slice())
    }

    /// The lists (DER) whose claimed issuers have certificates among the files. Others speak of other chains.
    pub(crate) fn lists_of_authorities(&self) -> Vec<Vec<u8>> {
        let names: Vec<String> = self.certificates().into_iter().map(|(name, _)| name).collect();
        let lists = self
            .of(Kind::RevocationList)
            .filter(|piece| RevocationList::claimed_issuer(&piece.bytes).is_some_and(|issuer| names.contains(&issuer)));
        lists.map(|piece| piece.bytes.clone()).collect()
    }
}

const MAX_FILES: usize = 64;
const MAX_BYTES: usize = 24 << 20;

//! A folder of cases, as its manifest describes them.

use std::path::{Path, PathBuf};

use attest::certificate::TrustAnchor;
use envelope::Digest;
use jiff::Timestamp;
use serde_json::Value;

/// A folder with its manifest.
#[derive(Debug, Clone)]
pub struct Folder {
    digest: Digest,
    cases: Vec<Case>,
}

/// Why a folder cannot be read.
#[derive(Debug)]
pub enum FolderError {
    /// There is none.
    Absent(PathBuf),
    /// Its manifest is not one.
    Manifest(String),
}

/// One case.
#[derive(Debug, Clone)]
pub struct Case {
    /// Its name, such as `snp/genoa-1`.
    pub id: String,
    /// Which module runs it.
    pub kind: String,
    /// What is said of the format.
    pub format: String,
    /// The result, the reason and more.
    pub expected: Value,
    /// What the Evidence says, where it is known.
    pub claims: Value,
    /// The verifier's input where it differs from the Evidence.
    pub policy: Value,
    /// The clock to verify at; `None` where the format has no validity.
    pub reference_time: Option<Timestamp>,
    /// The authority, by the manifest's name.
    pub trust_anchor: Option<String>,
    /// What is wrong with the case itself, in words.
    fault: Option<String>,
    folder: PathBuf,
    directory: PathBuf,
    files: Value,
}

impl Folder {
    /// Reads a manifest.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn open(folder: &Path) -> Result<Folder, FolderError> {
        let bytes = std::fs::read(folder.join("manifest.json")).map_err(|_| FolderError::Absent(folder.to_owned()))?;
        let manifest: Value =
            serde_json::from_slice(&bytes).map_err(|error| FolderError::Manifest(error.to_string()))?;
        let cases = manifest.get("cases").and_then(Value::as_array);
        let cases = cases.ok_or_else(|| FolderError::Manifest("no list of cases".to_owned()))?;
        Ok(Folder { digest: Digest::of(&bytes), cases: cases.iter().map(|case| Case::read(case, folder)).collect() })
    }

    /// The digest of its manifest.
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Its cases, in order.
    pub fn cases(&self) -> &[Case] {
        &self.cases
    }
}

impl Case {
    fn read(case: &Value, folder: &Path) -> Case {
        let text = |name: &str| case.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let value = |name: &str| case.get(name).cloned().unwrap_or(Value::Null);
        let (reference_time, fault) = match case.get("reference_time") {
            None | Some(Value::Null) => (None, None),
            Some(time) => match time.as_str().map(str::parse) {
                Some(Ok(time)) => (Some(time), None),
                _ => (None, Some(format!("the reference time {time} is none"))),
            },
        };
        Case {
            id: text("id"),
            kind: text("kind"),
            format: text("format"),
            expected: value("expected"),
            claims: value("claims"),
            policy: value("policy"),
            reference_time,
            fault,
            trust_anchor: case.get("trust_anchor").and_then(Value::as_str).map(str::to_owned),
            folder: folder.to_owned(),
            directory: folder.join(text("dir")),
            files: value("files"),
        }
    }

    /// What is wrong with the case itself, in words.
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// Whether it has a file in this role.
    pub fn has(&self, role: &str) -> bool {
        self.files.get(role).is_some_and(Value::is_object)
    }

    /// The bytes of the file in this role, if there is one.
    ///
    /// # Errors
    /// In words, when it is listed and cannot be read, or its digest is not the listed one.
    pub fn file(&self, role: &str) -> Result<Option<Vec<u8>>, String> {
        let Some(file) = self.files.get(role).filter(|file| file.is_object()) else { return Ok(None) };
        let path = file.get("path").and_then(Value::as_str).ok_or_else(|| format!("the file `{role}` has no path"))?;
        let inside = self.directory.join(path);
        let path = if inside.exists() { inside } else { self.folder.join(path) };
        let bytes = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let listed = file.get("sha256").and_then(Value::as_str).unwrap_or_default();
        if Digest::of(&bytes).to_string() != format!("sha256:{listed}") {
            return Err(format!("{} is not the file that the manifest lists", path.display()));
        }
        Ok(Some(bytes))
    }

    /// The bytes of a file that must be there.
    ///
    /// # Errors
    /// In words.
    pub fn need(&self, role: &str) -> Result<Vec<u8>, String> {
        self.file(role)?.ok_or_else(|| format!("the case has no file `{role}`"))
    }

    /// The clock to verify at, or a fixed one for formats without validity.
    pub fn now(&self) -> Timestamp {
        self.reference_time.unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// A text of `expected`, such as `result` or `reason`.
    pub fn expects(&self, field: &str) -> Option<&str> {
        self.expected.get(field).and_then(Value::as_str)
    }

    /// A text of `policy`.
    pub fn asks(&self, field: &str) -> Option<&str> {
        self.policy.get(field).and_then(Value::as_str)
    }

    /// A text of `claims`.
    pub fn claims(&self, field: &str) -> Option<&str> {
        self.claims.get(field).and_then(Value::as_str)
    }

    /// The authority that the case brings itself, or else the makers'.
    ///
    /// # Errors
    /// In words.
    pub fn anchors(&self, makers: Vec<TrustAnchor>) -> Result<Vec<TrustAnchor>, String> {
        Ok(self.custom_anchor()?.map_or(makers, |anchor| vec![anchor]))
    }

    /// The authority that the case brings itself, where its trust anchor is `custom: files.ROLE`.
    ///
    /// # Errors
    /// In words.
    pub fn custom_anchor(&self) -> Result<Option<TrustAnchor>, String> {
        let role = self.trust_anchor.as_deref().and_then(|name| name.strip_prefix("custom: files."));
        let Some(role) = role else { return Ok(None) };
        TrustAnchor::pin(&self.need(role)?).map(Some).map_err(|fault| format!("the trust anchor: {fault}"))
    }
}

//! Sealed blobs and results: age files (C2SP age-encryption.org/v1) that any age tool opens.
//!
//! A blob is streamed to one or more recipients and read back by one identity. Recipients and identities are X25519, in
//! age's own text forms (`age1…`, `AGE-SECRET-KEY-1…`), so a person may keep using other tools with the same key.
//!
//! **Padding.** A result's length can say how many groups it has, so results are padded before they are encrypted: to the
//! next power of two, from 1 KiB up to 64 KiB, then to a multiple of 64 KiB. The padding must leave the opened file usable
//! in any tool, so it is made of what a table in CSV may end with anyway: line feeds. Readers of CSV skip blank lines
//! (pandas, Arrow, DuckDB for tables of two columns and more); DuckDB takes them for missing values in a table of a single
//! column, so what Glovebox opens is given without the padding ([`unpad`]). For that to be exact a result ends with one
//! line feed and never with a blank line: a canonical encoder writes a lone missing value as `""`. Random padding, or
//! padding in the header, would hide nothing or break the file.
//!
//! A plaintext is released as it is decrypted, in authenticated chunks of 64 KiB; an error after some output means that the
//! rest is missing or altered, and the caller discards what was written. Deliberately absent: armour for data, SSH keys,
//! plugins, and files encrypted with a passphrase other than identities.

use std::{
    fmt, io,
    io::{Read, Write},
    iter,
    str::FromStr,
};

use age::{
    DecryptError, Decryptor, EncryptError, Encryptor,
    armor::{ArmoredReader, ArmoredWriter, Format},
    secrecy::{ExposeSecret, SecretString},
    x25519,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

/// Whom a blob is sealed to: an X25519 recipient of age, `age1…` as text.
#[derive(Clone, PartialEq, Eq)]
pub struct Recipient(x25519::Recipient);

/// Who opens a blob: an X25519 identity of age, `AGE-SECRET-KEY-1…` as text. Never printed.
#[derive(Clone)]
pub struct Identity(x25519::Identity);

/// Why a blob is not sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// The text is not a recipient.
    #[error("`{0}` is not an age recipient\nhint: a recipient starts with `age1`")]
    NotARecipient(String),
    /// The text is not an identity; it is not repeated.
    #[error("this is not an age identity\nhint: an identity is a line that starts with `AGE-SECRET-KEY-1`")]
    NotAnIdentity,
    /// There is nobody to seal to.
    #[error("there is no recipient")]
    NoRecipients,
    /// The blob is sealed to others.
    #[error("it is sealed to other recipients")]
    OtherRecipients,
    /// The passphrase is wrong.
    #[error("the passphrase does not open the identity\nhint: type it again; of a file, the first line counts")]
    WrongPassphrase,
    /// The identity file asks for more work than is reasonable.
    #[error("the identity asks for excessive work before its passphrase can be tried")]
    ExcessiveWork,
    /// It is not an age file, or not one of version 1.
    #[error("it is not an age file")]
    NotAge,
    /// It was altered or cut short.
    #[error("it was altered or cut short")]
    Altered,
    /// The result does not end with a line feed, or ends with blank lines, so padding could not be taken off again.
    #[error("a result must end with one line feed")]
    Ending,
    /// Reading or writing failed.
    #[error("reading or writing failed: {0}{hint}", hint = room(*.0))]
    Io(io::ErrorKind),
}

impl Identity {
    /// A new identity from the operating system's generator.
    pub fn generate() -> Identity {
        Identity(x25519::Identity::generate())
    }

    /// The recipient that it opens for.
    pub fn recipient(&self) -> Recipient {
        Recipient(self.0.to_public())
    }

    /// The secret text, to be stored; wiped on drop.
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(self.0.to_string().expose_secret().to_owned())
    }
}

/// Seals a stream to several recipients; returns how many bytes of plaintext it had.
pub fn seal_blob(mut plaintext: impl Read, ciphertext: impl Write, recipients: &[Recipient]) -> Result<u64, BlobError> {
    let recipients = recipients.iter().map(|recipient| &recipient.0 as &dyn age::Recipient);
    let mut writer =
        Encryptor::with_recipients(recipients).map_err(not_sealed)?.wrap_output(ciphertext).map_err(broken)?;
    let bytes = io::copy(&mut plaintext, &mut writer).map_err(broken)?;
    writer.finish().and_then(|mut output| output.flush()).map_err(broken)?;
    Ok(bytes)
}

/// Opens a stream into another; returns how many bytes of plaintext it had. On an error the output is to be discarded.
pub fn open_blob(ciphertext: impl Read, identity: &Identity, mut plaintext: impl Write) -> Result<u64, BlobError> {
    let decryptor = Decryptor::new(versioned(ciphertext)?).map_err(not_opened)?;
    let mut reader = decryptor.decrypt(iter::once(&identity.0 as &dyn age::Identity)).map_err(not_opened)?;
    let mut buffer = Zeroizing::new(vec![0; CHUNK]);
    let mut bytes = 0;
    loop {
        // The stream cipher reports an authentication failure as an error of reading.
        let count = reader.read(&mut buffer).map_err(altered)?;
        if count == 0 {
            plaintext.flush().map_err(broken)?;
            return Ok(bytes);
        }
        plaintext.write_all(buffer.get(..count).unwrap_or_default()).map_err(broken)?;
        bytes += count as u64;
    }
}

/// Seals a result after padding it; the ciphertext's length tells its bucket and the number of recipients only (and a
/// random stanza of the header, which age adds).
pub fn seal_padded(result: &[u8], recipients: &[Recipient]) -> Result<Vec<u8>, BlobError> {
    let padded = pad(result)?;
    let mut ciphertext = Vec::with_capacity(padded.len() + 1_024);
    seal_blob(padded.as_slice(), &mut ciphertext, recipients)?;
    Ok(ciphertext)
}

/// A result with line feeds appended up to its bucket. It must end with exactly one line feed, or be empty.
pub fn pad(result: &[u8]) -> Result<Zeroizing<Vec<u8>>, BlobError> {
    if !result.is_empty() && (!result.ends_with(b"\n") || result.ends_with(b"\n\n") || result == b"\n") {
        return Err(BlobError::Ending);
    }
    // A whole buffer at once: growing would leave copies of the plaintext behind.
    let mut padded = Zeroizing::new(Vec::with_capacity(bucket(result.len())));
    padded.extend_from_slice(result);
    padded.resize(bucket(result.len()), b'\n');
    Ok(padded)
}

/// The result without its padding.
pub fn unpad(padded: &[u8]) -> &[u8] {
    let content = padded.iter().rposition(|byte| *byte != b'\n').map_or(0, |last| last + 2);
    padded.get(..content).unwrap_or(padded)
}

/// Encrypts an identity with a passphrase into an armoured age file, as `age -p -a` does, so that `age -d -i` takes it.
pub fn protect_identity(identity: &Identity, passphrase: &str) -> Result<String, BlobError> {
    protect(identity, passphrase, None)
}

/// Opens what [`protect_identity`], or `age -p` on an identity file, has written.
pub fn unprotect_identity(file: &str, passphrase: &str) -> Result<Identity, BlobError> {
    let decryptor = Decryptor::new(versioned(ArmoredReader::new(file.as_bytes()))?).map_err(not_opened)?;
    if !decryptor.is_scrypt() {
        return Err(BlobError::NotAnIdentity);
    }
    let mut key = age::scrypt::Identity::new(SecretString::from(passphrase.to_owned()));
    key.set_max_work_factor(MAX_WORK);
    let reader = decryptor.decrypt(iter::once(&key as &dyn age::Identity)).map_err(|error| match error {
        DecryptError::DecryptionFailed | DecryptError::KeyDecryptionFailed | DecryptError::NoMatchingKeys => {
            BlobError::WrongPassphrase
        }
        other => not_opened(other),
    })?;
    let mut text = Zeroizing::new(String::with_capacity(MAX_IDENTITY));
    reader.take(MAX_IDENTITY as u64).read_to_string(&mut text).map_err(altered)?;
    text.lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.starts_with('#'))
        .ok_or(BlobError::NotAnIdentity)?
        .parse()
}

impl FromStr for Recipient {
    type Err = BlobError;

    fn from_str(text: &str) -> Result<Recipient, BlobError> {
        // Who pastes the wrong line must not find the secret in a log.
        let secret = text.trim_start().to_ascii_uppercase().starts_with("AGE-SECRET-KEY-");
        let wrong = || {
            BlobError::NotARecipient(if secret {
                "AGE-SECRET-KEY-…".to_owned()
            } else {
                crate::text::shown(text, 80)
            })
        };
        text.parse().map(Recipient).map_err(|_| wrong())
    }
}

impl FromStr for Identity {
    type Err = BlobError;

    fn from_str(text: &str) -> Result<Identity, BlobError> {
        text.trim().parse().map(Identity).map_err(|_| BlobError::NotAnIdentity)
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity")
    }
}

impl Serialize for Recipient {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Recipient {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Recipient, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The stream, if it starts as every age file of version 1 does: age itself would call anything else cut short.
fn versioned<R: Read>(mut ciphertext: R) -> Result<impl Read, BlobError> {
    let mut head = Vec::with_capacity(VERSION.len());
    ciphertext.by_ref().take(VERSION.len() as u64).read_to_end(&mut head).map_err(|error| match altered(error) {
        BlobError::Altered => BlobError::NotAge,
        other => other,
    })?;
    if head == VERSION { Ok(io::Cursor::new(head).chain(ciphertext)) } else { Err(BlobError::NotAge) }
}

fn protect(identity: &Identity, passphrase: &str, work: Option<u8>) -> Result<String, BlobError> {
    let mut key = age::scrypt::Recipient::new(SecretString::from(passphrase.to_owned()));
    if let Some(work) = work {
        key.set_work_factor(work);
    }
    let encryptor = Encryptor::with_recipients(iter::once(&key as &dyn age::Recipient)).map_err(not_sealed)?;
    let mut armoured = Vec::new();
    let armour = ArmoredWriter::wrap_output(&mut armoured, Format::AsciiArmor).map_err(broken)?;
    let mut writer = encryptor.wrap_output(armour).map_err(broken)?;
    writer.write_all(identity.to_text().as_bytes()).and_then(|()| writer.write_all(b"\n")).map_err(broken)?;
    writer.finish().and_then(ArmoredWriter::finish).map_err(broken)?;
    String::from_utf8(armoured).map_err(|_| BlobError::Altered)
}

/// The padded length of a result: no power of two above 64 KiB, for a result of 70 KiB should not take 128.
fn bucket(length: usize) -> usize {
    if length <= CHUNK { length.max(MIN_BUCKET).next_power_of_two() } else { length.next_multiple_of(CHUNK) }
}

fn room(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "\nhint: make room on the disk and run the command again"
        }
        _ => "",
    }
}

fn not_sealed(error: EncryptError) -> BlobError {
    match error {
        EncryptError::MissingRecipients => BlobError::NoRecipients,
        EncryptError::Io(error) => broken(error),
        _ => BlobError::NoRecipients,
    }
}

fn not_opened(error: DecryptError) -> BlobError {
    match error {
        DecryptError::NoMatchingKeys => BlobError::OtherRecipients,
        DecryptError::DecryptionFailed | DecryptError::InvalidMac | DecryptError::KeyDecryptionFailed => {
            BlobError::Altered
        }
        DecryptError::ExcessiveWork { .. } => BlobError::ExcessiveWork,
        DecryptError::InvalidHeader | DecryptError::UnknownFormat => BlobError::NotAge,
        DecryptError::Io(error) => altered(error),
    }
}

/// An error while reading ciphertext: age says "invalid data" where authentication failed or the end is missing.
fn altered(error: io::Error) -> BlobError {
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => BlobError::Altered,
        kind => BlobError::Io(kind),
    }
}

fn broken(error: io::Error) -> BlobError {
    BlobError::Io(error.kind())
}

/// The first line of an age file.
const VERSION: &[u8] = b"age-encryption.org/v1\n";

/// The chunk of age's stream, and the step of large buckets.
const CHUNK: usize = 64 << 10;

/// The smallest bucket: most results of a few rows look alike.
const MIN_BUCKET: usize = 1 << 10;

/// log2 of the scrypt work that is tried at most: 4 GiB of memory and some ten seconds.
const MAX_WORK: u8 = 22;

/// The longest identity file.
const MAX_IDENTITY: usize = 4 << 10;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn seal(plaintext: &[u8], recipients: &[Recipient]) -> Vec<u8> {
        let mut ciphertext = Vec::new();
        assert_eq!(seal_blob(plaintext, &mut ciphertext, recipients), Ok(plaintext.len() as u64));
        ciphertext
    }

    fn open(ciphertext: &[u8], identity: &Identity) -> Result<Vec<u8>, BlobError> {
        let mut plaintext = Vec::new();
        open_blob(ciphertext, identity, &mut plaintext).map(|_| plaintext)
    }

    #[test]
    fn every_recipient_and_nobody_else_opens() {
        let [a, b, c] = [(); 3].map(|()| Identity::generate());
        let sealed = seal(b"figures", &[a.recipient(), b.recipient()]);
        assert_eq!(open(&sealed, &a), Ok(b"figures".to_vec()));
        assert_eq!(open(&sealed, &b), Ok(b"figures".to_vec()));
        assert_eq!(open(&sealed, &c), Err(BlobError::OtherRecipients));
        assert_eq!(seal_blob(&b""[..], io::sink(), &[]), Err(BlobError::NoRecipients));
    }

    #[test]
    fn h7_an_identity_in_place_of_a_recipient_is_not_repeated() {
        let secret = Identity::generate().to_text();
        assert_eq!(secret.parse::<Recipient>(), Err(BlobError::NotARecipient("AGE-SECRET-KEY-…".to_owned())));
    }

    #[test]
    fn a_flipped_or_missing_byte_is_noticed() {
        let identity = Identity::generate();
        let sealed = seal(&[7; 70_000], &[identity.recipient()]);
        let mut flipped = sealed.clone();
        *flipped.last_mut().unwrap() ^= 1;
        assert_eq!(open(&flipped, &identity), Err(BlobError::Altered));
        assert_eq!(open(&sealed[..sealed.len() - 1], &identity), Err(BlobError::Altered));
        assert_eq!(open(b"not age", &identity), Err(BlobError::NotAge));
    }

    #[test]
    fn padding_hides_the_length_and_comes_off_exactly() {
        assert_eq!(
            [0, 1, 1_024, 1_025, 65_536, 65_537, 200_000].map(bucket),
            [1_024, 1_024, 1_024, 2_048, 65_536, 131_072, 262_144]
        );
        for result in [&b"a,b\n1,2\n"[..], b"a\n\"\"\n", b""] {
            let padded = pad(result).unwrap();
            assert_eq!(padded.len(), 1_024);
            assert_eq!(unpad(&padded), result);
        }
        assert_eq!(pad(b"a\n1"), Err(BlobError::Ending));
        assert_eq!(pad(b"a\n\n"), Err(BlobError::Ending));
        let identity = Identity::generate();
        let [short, long] = [&b"a\n1\n"[..], &b"a\n1\n22\n333\n"[..]]
            .map(|result| seal_padded(result, &[identity.recipient()]).unwrap());
        // The header has a stanza of random length; what follows its last line is the payload.
        let payload = |file: &[u8]| {
            let last = file.windows(5).position(|window| window == b"\n--- ").unwrap() + 1;
            file.len() - last - file[last..].iter().position(|byte| *byte == b'\n').unwrap()
        };
        assert_eq!(payload(&short), payload(&long));
        assert_eq!(unpad(&open(&short, &identity).unwrap()), b"a\n1\n");
    }

    #[test]
    fn an_identity_is_protected_by_its_passphrase() {
        let identity = Identity::generate();
        let file = protect(&identity, "correct horse", Some(10)).unwrap();
        assert!(file.starts_with("-----BEGIN AGE ENCRYPTED FILE-----"));
        let opened = unprotect_identity(&file, "correct horse").unwrap();
        assert_eq!(opened.recipient(), identity.recipient());
        assert_eq!(unprotect_identity(&file, "wrong").unwrap_err(), BlobError::WrongPassphrase);
        assert_eq!(unprotect_identity("nonsense", "x").unwrap_err(), BlobError::NotAge);
        assert_eq!(format!("{identity:?}"), "Identity");
    }

    #[test]
    fn texts_are_those_of_age() {
        let identity = Identity::generate();
        let recipient = identity.recipient().to_string();
        assert!(recipient.starts_with("age1"));
        assert_eq!(recipient.parse(), Ok(identity.recipient()));
        assert_eq!(identity.to_text().parse::<Identity>().unwrap().recipient(), identity.recipient());
        assert_eq!("age1x".parse::<Recipient>(), Err(BlobError::NotARecipient("age1x".into())));
        assert_eq!("AGE-SECRET-KEY-1X".parse::<Identity>().unwrap_err(), BlobError::NotAnIdentity);
    }
}

//! A party's public identity: a signing key that vouches for a recipient key.
//!
//! There is no account anywhere. The text form is one line that fits in an e-mail:
//! `glovebox1.<signing key>.<age recipient>.<signature>`. The signature is over the recipient, so a text that was cut,
//! mistyped or glued together from two identities does not parse.

use std::{fmt, str::FromStr};

use envelope::{Digest, PublicKey, SigningKey, text};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const PREFIX: &str = "glovebox1";

/// A checked identity: the signing key did vouch for the recipient.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    signing: PublicKey,
    recipient: String,
    vouch: [u8; 64],
}

/// Why a text is not an identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not four parts after the right prefix.
    #[error(
        "this is not a party's identity: it must be one line of four parts that starts with `{PREFIX}.`\nhint: copy the whole line that `glovebox init` or `glovebox status` printed"
    )]
    Form,
    /// The signing key is no key.
    #[error("the identity's signing key is not an Ed25519 key")]
    SigningKey,
    /// The recipient is not an age X25519 recipient.
    #[error("the identity's recipient is not an age recipient (`age1` and 58 characters)")]
    Recipient,
    /// The signing key did not vouch for this recipient.
    #[error(
        "the identity's parts do not belong together: its signing key did not vouch for its recipient\nhint: copy the whole line again from its owner"
    )]
    Vouch,
}

impl Identity {
    /// Vouches for a recipient (`age1…`) with a signing key.
    ///
    /// # Errors
    /// [`IdentityError::Recipient`].
    pub fn vouch(signing: &SigningKey, recipient: &str) -> Result<Identity, IdentityError> {
        check_recipient(recipient)?;
        let vouch = signing.sign(vouch_digest(recipient).as_bytes());
        Ok(Identity { signing: signing.public(), recipient: recipient.to_owned(), vouch })
    }

    /// The key that signs this party's statements.
    pub const fn signing(&self) -> &PublicKey {
        &self.signing
    }

    /// The age recipient that this party's results are sealed to.
    pub fn recipient(&self) -> &str {
        &self.recipient
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (signing, vouch) = (text::encode(self.signing.as_bytes()), text::encode(&self.vouch));
        write!(f, "{PREFIX}.{signing}.{}.{vouch}", self.recipient)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.signing)
    }
}

impl FromStr for Identity {
    type Err = IdentityError;

    fn from_str(input: &str) -> Result<Identity, IdentityError> {
        let mut parts = input.trim().split('.');
        let (Some(PREFIX), Some(signing), Some(recipient), Some(vouch), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(IdentityError::Form);
        };
        let signing = text::decode(signing)
            .and_then(|bytes| bytes.try_into().ok())
            .and_then(|bytes| PublicKey::from_bytes(bytes).ok())
            .ok_or(IdentityError::SigningKey)?;
        check_recipient(recipient)?;
        let vouch: [u8; 64] = text::decode(vouch).and_then(|bytes| bytes.try_into().ok()).ok_or(IdentityError::Form)?;
        if !signing.verifies(vouch_digest(recipient).as_bytes(), &vouch) {
            return Err(IdentityError::Vouch);
        }
        Ok(Identity { signing, recipient: recipient.to_owned(), vouch })
    }
}

impl Serialize for Identity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Identity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Identity, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

fn vouch_digest(recipient: &str) -> Digest {
    Digest::of_parts("glovebox vouch v1", &[recipient.as_bytes()])
}

fn check_recipient(recipient: &str) -> Result<(), IdentityError> {
    const BECH32: &str = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    let digits = recipient.strip_prefix("age1").ok_or(IdentityError::Recipient)?;
    if digits.len() == 58 && digits.chars().all(|c| BECH32.contains(c)) {
        Ok(())
    } else {
        Err(IdentityError::Recipient)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const RECIPIENT: &str = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";
    const OTHER: &str = "age1cy0su9fwf3gf9mw868g5yut09p6nytfmmnktexz2ya5uqg9vl9sss4euqm";

    #[test]
    fn the_text_form_round_trips_and_fits_a_line_of_mail() {
        let identity = Identity::vouch(&SigningKey::from_seed(&[1; 32]), RECIPIENT).unwrap();
        let text = identity.to_string();
        assert!(text.len() < 250 && text.is_ascii() && !text.contains(char::is_whitespace), "{text}");
        assert_eq!(text.parse(), Ok(identity));
    }

    #[test]
    fn glued_cut_or_mistyped_identities_are_refused() {
        let text = Identity::vouch(&SigningKey::from_seed(&[1; 32]), RECIPIENT).unwrap().to_string();
        assert_eq!(text.replace(RECIPIENT, OTHER).parse::<Identity>(), Err(IdentityError::Vouch));
        assert_eq!(text[..text.len() - 4].parse::<Identity>(), Err(IdentityError::Form));
        assert_eq!(text.replace("age1", "age2").parse::<Identity>(), Err(IdentityError::Recipient));
        assert_eq!("hello".parse::<Identity>(), Err(IdentityError::Form));
        assert_eq!(format!("{text}.more").parse::<Identity>(), Err(IdentityError::Form));
    }
}

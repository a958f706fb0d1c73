//! Cases of the kind `corim`.

use attest::{
    corim::{CorimError, SignedCorim, UnsignedCorim},
    keys::VerificationKey,
    platform::Assurance,
};

use crate::{Case, Report};

pub(super) fn run(case: &Case) -> Result<Report, String> {
    let bytes = case.need("corim")?;
    let keys = match case.file("key")? {
        Some(jwk) => {
            let jwk = serde_json::from_slice(&jwk).map_err(|error| error.to_string())?;
            vec![VerificationKey::from_jwk(&jwk).map_err(|error| error.to_string())?]
        }
        None => Vec::new(),
    };
    let signed = SignedCorim::open(&bytes, &keys);
    let timed = |corim: SignedCorim| match case.reference_time {
        Some(now) => corim.current(now).map(|_| ()),
        None => Ok(()),
    };
    let outcome = match signed {
        Ok(corim) => timed(corim).map(|()| Assurance::Affirmed),
        // A case without a key is about the format alone.
        Err(CorimError::Unsigned | CorimError::Envelope(_)) if keys.is_empty() => {
            UnsignedCorim::parse(&bytes).map(|_| Assurance::ParsedOnly)
        }
        Err(error) => Err(error),
    };
    Ok(match outcome {
        Ok(assurance) => Report::accepted(assurance, Vec::new()),
        Err(error) => Report::coded(error.code(), error.to_string(), error.is_malformed()),
    })
}

//! Cases of the kind `corim`.

use attest::{
    corim::{CorimError, SignedCorim, UnsignedCorim},
    platform::Assurance,
};

use super::{Stop, ear::claim, keys::keys};
use crate::{Case, Report};

pub(super) fn run(case: &Case) -> Result<Report, Stop> {
    let bytes = case.need("corim")?;
    let keys = keys(case, "key")?;
    let signed = SignedCorim::open(&bytes, &keys);
    let timed = |corim: SignedCorim| match case.reference_time {
        Some(now) => corim.current(now).map(|_| ()),
        None => Ok(()),
    };
    let outcome = match signed {
        Ok(corim) => {
            let id = corim.corim().id.clone();
            timed(corim).map(|()| (Assurance::Affirmed, id))
        }
        // A case without a key is about the format alone.
        Err(CorimError::Unsigned | CorimError::Envelope(_)) if keys.is_empty() => {
            UnsignedCorim::parse(&bytes).map(|corim| (Assurance::ParsedOnly, corim.id))
        }
        Err(error) => Err(error),
    };
    Ok(match outcome {
        Ok((assurance, id)) => Report::accepted(assurance, vec![claim("id", id)]),
        Err(error) => Report::coded(error.code(), error.to_string(), error.is_malformed()),
    })
}

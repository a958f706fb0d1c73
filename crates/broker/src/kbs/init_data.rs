//! Initial data: a document that was measured into the guest when it was started, and that the client shows.
//!
//! The host sets a field of the hardware's report at launch; where there is only a TPM, the guest's own agent extends register 8. The document counts if that field
//! holds its digest *whole*, by any hash that the protocol knows, and then zeros. Upstream cuts longer digests to the field; here such a digest
//! is none. What the document says is not looked at: its digest becomes the claim `init_data=HASH:HEX`, which an owner's conditions can name.
//!
//! Deliberately absent: TOML. Which hash its writer meant shows in the field itself.

use attest::HashAlgorithm;
use wire::kbs::InitData;

use super::evidence::{EvidenceRefusal, Tee, is_padded};

/// Where a kind binds initial data.
enum Field {
    /// A register or claim that holds the digest.
    Whole(&'static str),
    /// A register of a TPM's SHA-256 bank that was extended with it once.
    Extended(&'static str),
}

/// The claim that names the document, if the hardware carries its digest.
///
/// # Errors
/// Another format than `toml`; a kind that cannot bind it; another digest.
pub(super) fn bound(
    tee: Tee,
    init_data: &InitData,
    field: &dyn Fn(&str) -> Option<Vec<u8>>,
) -> Result<String, EvidenceRefusal> {
    if init_data.format != "toml" {
        return Err(EvidenceRefusal::InitDataFormat(envelope::text::shown(&init_data.format, 40)));
    }
    let place = place(tee).ok_or(EvidenceRefusal::InitDataUnbindable(tee.name()))?;
    for hash in HASHES {
        let digest = hash.hash(&[init_data.body.as_bytes()]);
        let carried = match place {
            Field::Whole(name) => field(name).is_some_and(|value| is_padded(&value, &digest)),
            Field::Extended(name) => {
                let once = HashAlgorithm::Sha256.extend(&[0; 32], &digest);
                digest.len() == HashAlgorithm::Sha256.size() && field(name).is_some_and(|value| value == once)
            }
        };
        if carried {
            return Ok(format!("init_data={}:{}", hash.name(), hex::encode(digest)));
        }
    }
    Err(EvidenceRefusal::InitData)
}

const fn place(tee: Tee) -> Option<Field> {
    match tee {
        Tee::Snp => Some(Field::Whole("host_data")),
        Tee::Tdx => Some(Field::Whole("mrconfigid")),
        Tee::Sgx => Some(Field::Whole("configid")),
        Tee::Cca => Some(Field::Whole("rpv")),
        Tee::AzSnpVtpm | Tee::AzTdxVtpm | Tee::Tpm => Some(Field::Extended("pcr8")),
        Tee::Csv | Tee::Se => None,
    }
}

const HASHES: [HashAlgorithm; 4] =
    [HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512, HashAlgorithm::Sm3];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    fn document(format: &str) -> InitData {
        InitData { format: format.to_owned(), body: "version = \"0.1.0\"\nalgorithm = \"sha256\"\n".to_owned() }
    }

    fn bound_to(tee: Tee, value: &[u8]) -> Result<String, EvidenceRefusal> {
        bound(tee, &document("toml"), &|_| Some(value.to_vec()))
    }

    #[test]
    fn a_digest_that_fits_its_field_whole_becomes_a_claim() {
        let body = document("toml").body;
        for hash in HASHES {
            let digest = hash.hash(&[body.as_bytes()]);
            let mut field = digest.clone();
            field.resize(64, 0);
            let claim = format!("init_data={}:{}", hash.name(), hex::encode(&digest));
            assert_eq!(bound_to(Tee::Sgx, &field), Ok(claim.clone()));
            assert_eq!(bound_to(Tee::Cca, &field), Ok(claim.clone()));
            // Behind the digest stands nothing.
            if field.len() > digest.len() {
                *field.last_mut().unwrap() = 1;
                assert_eq!(bound_to(Tee::Sgx, &field), Err(EvidenceRefusal::InitData));
            }
            // Cut to the field it is none.
            let cut = &digest[..digest.len() - 1];
            assert_eq!(bound_to(Tee::Tdx, cut), Err(EvidenceRefusal::InitData));
            if digest.len() == 32 {
                assert_eq!(bound_to(Tee::Snp, &digest), Ok(claim.clone()));
                let register = HashAlgorithm::Sha256.extend(&[0; 32], &digest);
                for tee in [Tee::Tpm, Tee::AzSnpVtpm, Tee::AzTdxVtpm] {
                    assert_eq!(bound_to(tee, &register), Ok(claim.clone()));
                    assert_eq!(bound_to(tee, &digest), Err(EvidenceRefusal::InitData));
                }
            } else {
                let register = HashAlgorithm::Sha256.extend(&[0; 32], &digest);
                assert_eq!(bound_to(Tee::Tpm, &register), Err(EvidenceRefusal::InitData));
            }
        }
    }

    #[test]
    fn what_cannot_be_bound_is_refused_by_name() {
        for tee in [Tee::Csv, Tee::Se] {
            assert_eq!(bound_to(tee, &[0; 64]), Err(EvidenceRefusal::InitDataUnbindable(tee.name())));
        }
        assert_eq!(bound_to(Tee::Snp, &[0; 32]), Err(EvidenceRefusal::InitData));
        assert_eq!(bound_to(Tee::Snp, &[]), Err(EvidenceRefusal::InitData));
        assert_eq!(bound(Tee::Tpm, &document("toml"), &|_| None), Err(EvidenceRefusal::InitData));
        let refused = bound(Tee::Snp, &document("json"), &|_| None);
        assert_eq!(refused, Err(EvidenceRefusal::InitDataFormat("json".to_owned())));
    }
}

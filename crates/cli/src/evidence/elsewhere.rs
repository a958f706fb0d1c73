//! What to say of files that are known and are not Evidence: what they are, and who examines them.

use attest::detect::Kind;

use super::gather::Pieces;

/// Why none of these can be appraised, with a hint, from the file that says most.
pub(super) fn no_evidence(pieces: &Pieces) -> String {
    let telling = |kind: &Kind| match kind {
        Kind::Unknown => 3,
        Kind::Certificates | Kind::RevocationList | Kind::PublicKey | Kind::PcrValues => 2,
        Kind::EventLog | Kind::Rim => 1,
        _ => 0,
    };
    let piece = pieces.0.iter().min_by_key(|piece| telling(&piece.kind));
    match piece.and_then(|piece| Some((piece, reason(piece.kind)?))) {
        Some((piece, reason)) => {
            format!("none of the files is Evidence: `{}` holds {}; {reason}", piece.path.display(), piece.kind.words())
        }
        None => {
            "none of the files is Evidence that is known here\nhint: `glovebox evidence show FILE` tells what a file is"
                .to_owned()
        }
    }
}

/// What such a file is for. `None` for Evidence, and for what is not known.
const fn reason(kind: Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::EarJwt => {
            "another Verifier made it already\nhint: the library alone examines it, under its signer's key (`attest::ear`); `glovebox evidence show` tells what it says"
        }
        Kind::Jwt => {
            "it is the word of a service about Evidence that it saw\nhint: name the Evidence itself; the library alone examines an EAT, under its signer's key (`attest::ear`)"
        }
        Kind::RiscZeroParameters => {
            "the library alone examines such a receipt, with its seal and journal\nhint: see `attest::risc0`; a receipt proves a result, and nothing of a machine"
        }
        Kind::Certificates | Kind::RevocationList => {
            "that says whose a key is, and nothing of what runs\nhint: name the report or quote that they belong to, too; a host key of IBM Secure Execution is examined by the library alone (`attest::ibm`)"
        }
        Kind::EventLog => {
            "nothing signs it but a quote of its registers\nhint: name the quote, too: a TPM's with its registers, or that of a TDX or CSV machine"
        }
        Kind::ImaLog => {
            "nothing signs it but a quote of its registers\nhint: name it with a TDX or CSV machine's quote and event log; beside a TPM's quote the library alone compares it (`attest::ima`)"
        }
        Kind::CcelTable => {
            "it says where a log is, and nothing of what runs\nhint: name the log, with the quote of its registers"
        }
        Kind::Rim | Kind::RimAnswer => {
            "that says what would be good, and nothing of a machine\nhint: name the device's report; the library alone compares it with manifests (`attest::nvidia`)"
        }
        Kind::Corim => {
            "that says what would be good, and nothing of a machine\nhint: `glovebox evidence reference --corim FILE` takes its values over"
        }
        Kind::TdReport => "nothing signs it\nhint: have the machine's quoting enclave make a quote of it",
        Kind::TcbInfo | Kind::QeIdentity | Kind::HygonCertificate | Kind::PcrValues | Kind::PublicKey => {
            "that only goes with Evidence\nhint: name the report or quote that it belongs to, too"
        }
        Kind::Cose => {
            "its claims are of no platform that is known here\nhint: `glovebox evidence show` tells what it says"
        }
        Kind::Unknown
        | Kind::SgxQuote(_)
        | Kind::TdxQuote(_)
        | Kind::SnpReport(_)
        | Kind::HclReport
        | Kind::NitroDocument
        | Kind::NitroTpmDocument
        | Kind::CcaToken
        | Kind::PsaToken
        | Kind::TpmQuote
        | Kind::NvidiaReport
        | Kind::NvidiaCollected
        | Kind::HygonReport
        | Kind::KeystoneReport
        | Kind::Evidence
        | Kind::ForeignEvidence => return None,
    })
}

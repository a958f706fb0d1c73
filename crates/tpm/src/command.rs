//! Frames of commands and responses (TPM 2.0 Part 1, "Command/Response Structure"), and how a command is authorized.
//!
//! A command is its code, handles, authorizations and parameters; a response is a handle when one is made, and parameters.
//! Authorizations are of two kinds here: the empty password, and a policy session whose policy needs no secret.

use crate::marshal::{Malformed, Reader, Writer};

/// The commands in use, with their codes (TPM 2.0 Part 2, "TPM_CC").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Code {
    NvDefineSpace = 0x12a,
    CreatePrimary = 0x131,
    NvWrite = 0x137,
    Startup = 0x144,
    Shutdown = 0x145,
    ActivateCredential = 0x147,
    NvRead = 0x14e,
    PolicySecret = 0x151,
    Create = 0x153,
    Load = 0x157,
    Quote = 0x158,
    Unseal = 0x15e,
    FlushContext = 0x165,
    NvReadPublic = 0x169,
    PolicyOr = 0x171,
    ReadPublic = 0x173,
    StartAuthSession = 0x176,
    GetCapability = 0x17a,
    GetRandom = 0x17b,
    PcrRead = 0x17e,
    PolicyPcr = 0x17f,
    ReadClock = 0x181,
    PcrExtend = 0x182,
    PolicyGetDigest = 0x189,
}

impl Code {
    /// The command's name in the specification.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Code::NvDefineSpace => "TPM2_NV_DefineSpace",
            Code::NvWrite => "TPM2_NV_Write",
            Code::CreatePrimary => "TPM2_CreatePrimary",
            Code::Startup => "TPM2_Startup",
            Code::Shutdown => "TPM2_Shutdown",
            Code::ActivateCredential => "TPM2_ActivateCredential",
            Code::NvRead => "TPM2_NV_Read",
            Code::PolicySecret => "TPM2_PolicySecret",
            Code::Create => "TPM2_Create",
            Code::Load => "TPM2_Load",
            Code::Quote => "TPM2_Quote",
            Code::Unseal => "TPM2_Unseal",
            Code::FlushContext => "TPM2_FlushContext",
            Code::NvReadPublic => "TPM2_NV_ReadPublic",
            Code::PolicyOr => "TPM2_PolicyOR",
            Code::ReadPublic => "TPM2_ReadPublic",
            Code::StartAuthSession => "TPM2_StartAuthSession",
            Code::GetCapability => "TPM2_GetCapability",
            Code::GetRandom => "TPM2_GetRandom",
            Code::PcrRead => "TPM2_PCR_Read",
            Code::PolicyPcr => "TPM2_PolicyPCR",
            Code::ReadClock => "TPM2_ReadClock",
            Code::PcrExtend => "TPM2_PCR_Extend",
            Code::PolicyGetDigest => "TPM2_PolicyGetDigest",
        }
    }

    fn returns_handle(self) -> bool {
        matches!(self, Code::CreatePrimary | Code::Load | Code::StartAuthSession)
    }
}

/// How the use of one handle is authorized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Authorization {
    /// The empty password.
    Empty,
    /// A policy session by its handle; it stays open, and whoever opened it flushes it.
    Policy(u32),
}

/// One command, ready to be framed.
pub(crate) struct Command<'a> {
    pub(crate) code: Code,
    pub(crate) handles: &'a [u32],
    pub(crate) authorizations: &'a [Authorization],
    pub(crate) parameters: Writer,
}

impl Command<'_> {
    /// The whole message.
    pub(crate) fn frame(&self) -> Writer {
        let mut body = Writer::new();
        for handle in self.handles {
            body = body.u32(*handle);
        }
        let mut area = Writer::new();
        for authorization in self.authorizations {
            let session = match authorization {
                Authorization::Empty => PASSWORD,
                Authorization::Policy(handle) => *handle,
            };
            // Empty nonce, "continue session", empty HMAC.
            area = area.u32(session).sized(&[]).u8(1).sized(&[]);
        }
        let mut tag = NO_SESSIONS;
        if !self.authorizations.is_empty() {
            tag = SESSIONS;
            body = body.u32(length(area.as_bytes())).bytes(area.as_bytes());
        }
        body = body.bytes(self.parameters.as_bytes());
        let total = length(body.as_bytes()).saturating_add(10);
        Writer::new().u16(tag).u32(total).u32(self.code as u32).bytes(body.as_bytes())
    }
}

/// A response taken apart: the return code, then what a successful one carries.
#[derive(Debug)]
pub(crate) struct Response<'a> {
    /// The handle made by the command, or 0.
    pub(crate) handle: u32,
    /// The parameters.
    pub(crate) parameters: Reader<'a>,
}

/// Takes a response apart; the inner error is the TPM's non-zero return code.
pub(crate) fn parse_response(code: Code, message: &[u8]) -> Result<Result<Response<'_>, u32>, Malformed> {
    let mut reader = Reader::new(message);
    let tag = reader.u16("response tag")?;
    let stated = reader.u32("response length")?;
    let outcome = reader.u32("response code")?;
    if usize::try_from(stated) != Ok(message.len()) {
        return Err(Malformed("response length"));
    }
    if outcome != 0 {
        return Ok(Err(outcome));
    }
    let handle = if code.returns_handle() { reader.u32("response handle")? } else { 0 };
    let parameters = match tag {
        NO_SESSIONS => reader,
        SESSIONS => {
            let size = reader.u32("parameter size")?;
            let size = usize::try_from(size).map_err(|_| Malformed("parameter size"))?;
            Reader::new(reader.take(size, "parameters")?)
        }
        _ => return Err(Malformed("response tag")),
    };
    Ok(Ok(Response { handle, parameters }))
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

const NO_SESSIONS: u16 = 0x8001;
const SESSIONS: u16 = 0x8002;
/// TPM_RS_PW: the authorization is a password.
const PASSWORD: u32 = 0x4000_0009;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_command_without_authorization_is_header_and_parameters() {
        let parameters = Writer::new().u16(8);
        let command = Command { code: Code::GetRandom, handles: &[], authorizations: &[], parameters };
        assert_eq!(hex::encode(command.frame().as_bytes()), "80010000000c0000017b0008");
    }

    #[test]
    fn authorizations_stand_between_handles_and_parameters() {
        let authorizations = [Authorization::Empty, Authorization::Policy(0x0300_0000)];
        let parameters = Writer::new().u8(0xee);
        let command =
            Command { code: Code::ActivateCredential, handles: &[1, 2], authorizations: &authorizations, parameters };
        let expected = concat!(
            "80020000002900000147",
            "0000000100000002",
            "00000012",
            "400000090000010000",
            "030000000000010000",
            "ee"
        );
        assert_eq!(hex::encode(command.frame().as_bytes()), expected);
    }

    #[test]
    fn a_refusal_is_not_a_malformed_response() {
        let refused = parse_response(Code::Unseal, &[0x80, 1, 0, 0, 0, 10, 0, 0, 9, 0x9d]);
        assert!(matches!(refused, Ok(Err(0x99d))));
        let short = parse_response(Code::Unseal, &[0x80, 1, 0, 0, 0, 11, 0, 0, 0, 0]);
        assert!(matches!(short, Err(Malformed("response length"))));
    }

    proptest! {
        #[test]
        fn no_response_makes_the_parser_panic(message: Vec<u8>) {
            let _ = parse_response(Code::CreatePrimary, &message).map(|response| response.map(|r| r.handle));
        }
    }
}

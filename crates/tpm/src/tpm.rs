//! A connection to one TPM, and what it tells of itself: identity, randomness, clock and registers.
//!
//! A role opens one [`Tpm`] and keeps it for its life. Where no resource manager stands between, opening clears what an
//! earlier user of the connection left loaded, because a TPM has room for three objects only; and every method leaves
//! nothing loaded but the keys it hands out.

use std::fmt;
use std::time::Duration;

use attest::{HashAlgorithm, PcrValue};
use zeroize::Zeroizing;

use crate::address::Address;
use crate::command::{Authorization, Code, Command, parse_response};
use crate::error::{HANDLE, INITIALIZE, NV_RATE, RETRY, ResponseCode, TESTING, TpmError, YIELDED};
use crate::marshal::{Malformed, Reader, Writer};
use crate::pcr::PcrSelection;
use crate::transport::Transport;

/// An open TPM 2.0.
pub struct Tpm {
    transport: Transport,
}

impl Tpm {
    /// Opens the TPM and starts it if nobody has.
    ///
    /// # Errors
    /// [`TpmError::Open`] when it is not there; otherwise what the first commands meet.
    pub fn open(address: &Address) -> Result<Tpm, TpmError> {
        let mut tpm = Tpm { transport: Transport::open(address)? };
        match tpm.startup() {
            // INITIALIZE says that it runs already; a resource manager starts its TPM itself and may refuse the command.
            Err(error) if error.base_code().is_none() => return Err(error),
            Ok(()) | Err(_) => {}
        }
        if !address.has_resource_manager() {
            tpm.flush_leftovers()?;
        }
        Ok(tpm)
    }

    /// Where this TPM is.
    #[must_use]
    pub fn address(&self) -> &Address {
        self.transport.address()
    }

    /// Who made this TPM, and which PCR banks it keeps.
    ///
    /// # Errors
    /// What the connection or the TPM meets.
    pub fn description(&mut self) -> Result<Description, TpmError> {
        let properties = self.properties()?;
        let property =
            |wanted: u32| properties.iter().find(|(known, _)| *known == wanted).map_or(0, |(_, value)| *value);
        let vendor: Vec<u8> = (0x106..=0x109).flat_map(|wanted| property(wanted).to_be_bytes()).collect();
        let firmware = [property(0x10b), property(0x10c)];
        let [major, minor, build, revision] = firmware.map(|word| [word >> 16, word & 0xffff]).concat()[..] else {
            return Err(TpmError::Malformed { command: Code::GetCapability.name(), what: "firmware version" });
        };
        Ok(Description {
            manufacturer: printable(&property(0x105).to_be_bytes()),
            vendor: printable(&vendor),
            firmware: format!("{major}.{minor}.{build}.{revision}"),
            banks: self.banks()?,
        })
    }

    /// The PCR banks that are active.
    ///
    /// # Errors
    /// What the connection or the TPM meets.
    pub fn banks(&mut self) -> Result<Vec<HashAlgorithm>, TpmError> {
        let read = self.capability(CAPABILITY_PCRS, 0, 1, PcrSelection::read)?;
        Ok(read.into_iter().filter(|(_, bits)| *bits != 0).map(|(bank, _)| bank).collect())
    }

    /// Random bytes of the TPM's own generator.
    ///
    /// # Errors
    /// What the connection or the TPM meets.
    pub fn random(&mut self, count: usize) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(count));
        while bytes.len() < count {
            let wanted = u16::try_from((count - bytes.len()).min(32)).unwrap_or(32);
            let before = bytes.len();
            self.run(Code::GetRandom, &[], &[], Writer::new().u16(wanted), |_, reader| {
                bytes.extend_from_slice(reader.sized("random bytes")?);
                Ok(())
            })?;
            if bytes.len() == before {
                return Err(TpmError::Malformed { command: Code::GetRandom.name(), what: "no random bytes" });
            }
        }
        bytes.truncate(count);
        Ok(bytes)
    }

    /// The TPM's clock and how often it was reset.
    ///
    /// # Errors
    /// What the connection or the TPM meets.
    pub fn clock(&mut self) -> Result<Clock, TpmError> {
        self.run(Code::ReadClock, &[], &[], Writer::new(), |_, reader| {
            reader.u64("time")?;
            Ok(Clock {
                milliseconds: reader.u64("clock")?,
                reset_count: reader.u32("reset count")?,
                restart_count: reader.u32("restart count")?,
                safe: reader.u8("safe")? == 1,
            })
        })
    }

    /// The values of the selected registers, in the order of the selection.
    ///
    /// # Errors
    /// [`TpmError::InactiveBank`] when the TPM does not keep one of them.
    pub fn read_pcrs(&mut self, selection: &PcrSelection) -> Result<Vec<PcrValue>, TpmError> {
        let mut values: Vec<PcrValue> = Vec::new();
        let mut left = Some(selection.clone());
        while let Some(wanted) = left {
            let (taken, digests) = self.read_some_pcrs(&wanted)?;
            let registers: Vec<_> = wanted
                .registers()
                .filter(|(bank, index)| taken.iter().any(|(b, bits)| b == bank && bits & (1 << index) != 0))
                .collect();
            if registers.is_empty() {
                let (bank, index) = wanted.registers().next().unwrap_or((HashAlgorithm::Sha256, 0));
                return Err(TpmError::InactiveBank { bank, index });
            }
            let malformed = || TpmError::Malformed { command: Code::PcrRead.name(), what: "digests" };
            if registers.len() != digests.len() {
                return Err(malformed());
            }
            for ((bank, index), value) in registers.into_iter().zip(digests) {
                if value.len() != bank.size() {
                    return Err(malformed());
                }
                values.push(PcrValue { bank, index, value });
            }
            left = wanted.without(&taken);
        }
        let position =
            |value: &PcrValue| selection.registers().position(|register| register == (value.bank, value.index));
        values.sort_by_key(position);
        Ok(values)
    }

    /// Extends register `index` by one digest per bank. A bank that is active and gets no digest stays as it is, and one
    /// that is not active ignores its digest; [`Tpm::banks`] says which are active.
    ///
    /// # Errors
    /// [`TpmError::DigestLength`] when a digest does not fit its bank.
    pub fn extend(&mut self, index: u8, digests: &[(HashAlgorithm, &[u8])]) -> Result<(), TpmError> {
        let mut parameters = Writer::new().u32(u32::try_from(digests.len()).unwrap_or(u32::MAX));
        for (bank, digest) in digests {
            if digest.len() != bank.size() {
                return Err(TpmError::DigestLength { bank: *bank, length: digest.len() });
            }
            parameters = parameters.u16(bank.id()).bytes(digest);
        }
        self.run(Code::PcrExtend, &[u32::from(index)], &[Authorization::Empty], parameters, |_, _| Ok(()))
    }

    /// Extends register `index` by the digest of `data`, in every active bank; returns those digests.
    ///
    /// # Errors
    /// What the connection or the TPM meets.
    pub fn measure(&mut self, index: u8, data: &[u8]) -> Result<Vec<(HashAlgorithm, Vec<u8>)>, TpmError> {
        let digests: Vec<_> = self.banks()?.into_iter().map(|bank| (bank, bank.hash(&[data]))).collect();
        let borrowed: Vec<_> = digests.iter().map(|(bank, digest)| (*bank, digest.as_slice())).collect();
        self.extend(index, &borrowed)?;
        Ok(digests)
    }

    /// Tells the TPM that its power goes, so that its clock stays trustworthy over the restart; for software TPMs only, as
    /// a machine's own TPM is shut down by the kernel.
    ///
    /// # Errors
    /// What the connection or the TPM meets.
    pub fn shutdown(mut self) -> Result<(), TpmError> {
        self.run(Code::Shutdown, &[], &[], Writer::new().u16(STARTUP_CLEAR), |_, _| Ok(()))
    }

    /// Runs one command and reads its answer; `read` gets the new handle (or 0) and the parameters.
    pub(crate) fn run<T>(
        &mut self,
        code: Code,
        handles: &[u32],
        authorizations: &[Authorization],
        parameters: Writer,
        read: impl FnOnce(u32, &mut Reader<'_>) -> Result<T, Malformed>,
    ) -> Result<T, TpmError> {
        let message = Command { code, handles, authorizations, parameters }.frame();
        let command = code.name();
        for pause in RETRY_PAUSES {
            let answer = self.transport.exchange(message.as_bytes())?;
            let parsed = parse_response(code, &answer).map_err(TpmError::malformed(command))?;
            match parsed {
                Ok(mut response) => {
                    return read(response.handle, &mut response.parameters).map_err(TpmError::malformed(command));
                }
                Err(RETRY | YIELDED | TESTING | NV_RATE) if pause > 0 => {
                    std::thread::sleep(Duration::from_millis(pause))
                }
                Err(code) => {
                    return Err(TpmError::Refused { command, code: ResponseCode(code) });
                }
            }
        }
        Err(TpmError::Refused { command, code: ResponseCode(RETRY) })
    }

    /// Removes a transient object or a session from the TPM.
    pub(crate) fn flush_handle(&mut self, handle: u32) -> Result<(), TpmError> {
        self.run(Code::FlushContext, &[], &[], Writer::new().u32(handle), |_, _| Ok(()))
    }

    /// Runs `work` with a handle and removes that from the TPM in every case; the work's own error goes first.
    pub(crate) fn with_handle<T>(
        &mut self,
        handle: u32,
        work: impl FnOnce(&mut Tpm, u32) -> Result<T, TpmError>,
    ) -> Result<T, TpmError> {
        let outcome = work(self, handle);
        if is_persistent(handle) {
            return outcome;
        }
        let flushed = self.flush_handle(handle);
        let value = outcome?;
        flushed.map(|()| value)
    }

    fn startup(&mut self) -> Result<(), TpmError> {
        match self.run(Code::Startup, &[], &[], Writer::new().u16(STARTUP_CLEAR), |_, _| Ok(())) {
            Err(error) if error.base_code() == Some(INITIALIZE) => Ok(()),
            outcome => outcome,
        }
    }

    fn flush_leftovers(&mut self) -> Result<(), TpmError> {
        for first in [0x8000_0000, 0x0200_0000, 0x0300_0000] {
            for handle in self.handles(first)? {
                match self.flush_handle(handle) {
                    Err(error) if error.base_code() != Some(HANDLE) => return Err(error),
                    Ok(()) | Err(_) => {}
                }
            }
        }
        Ok(())
    }

    fn handles(&mut self, first: u32) -> Result<Vec<u32>, TpmError> {
        self.capability(CAPABILITY_HANDLES, first, 64, |reader| {
            let count = reader.u32("number of handles")?.min(1024);
            (0..count).map(|_| reader.u32("handle")).collect()
        })
    }

    fn properties(&mut self) -> Result<Vec<(u32, u32)>, TpmError> {
        self.capability(CAPABILITY_PROPERTIES, 0x100, 64, |reader| {
            let count = reader.u32("number of properties")?.min(1024);
            (0..count).map(|_| Ok((reader.u32("property")?, reader.u32("property value")?))).collect()
        })
    }

    fn capability<T>(
        &mut self,
        capability: u32,
        first: u32,
        count: u32,
        read: impl FnOnce(&mut Reader<'_>) -> Result<T, Malformed>,
    ) -> Result<T, TpmError> {
        let parameters = Writer::new().u32(capability).u32(first).u32(count);
        self.run(Code::GetCapability, &[], &[], parameters, |_, reader| {
            reader.u8("more data")?;
            if reader.u32("capability")? != capability {
                return Err(Malformed("capability"));
            }
            read(reader)
        })
    }

    #[allow(clippy::type_complexity, reason = "what one TPM2_PCR_Read returns, used once")]
    fn read_some_pcrs(&mut self, wanted: &PcrSelection) -> Result<(Vec<(HashAlgorithm, u32)>, Vec<Vec<u8>>), TpmError> {
        self.run(Code::PcrRead, &[], &[], wanted.write(Writer::new()), |_, reader| {
            reader.u32("update counter")?;
            let taken = PcrSelection::read(reader)?;
            let count = reader.u32("number of digests")?.min(8);
            let digests: Result<Vec<_>, _> = (0..count).map(|_| reader.sized("digest").map(<[u8]>::to_vec)).collect();
            Ok((taken, digests?))
        })
    }
}

impl fmt::Debug for Tpm {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Tpm({})", self.address())
    }
}

/// What a TPM says of itself. Nothing here is signed: it serves people, not decisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The maker's four letters from the TCG vendor registry, for example `IBM`.
    pub manufacturer: String,
    /// The maker's own text.
    pub vendor: String,
    /// The firmware's version in four numbers.
    pub firmware: String,
    /// The active PCR banks.
    pub banks: Vec<HashAlgorithm>,
}

impl Description {
    /// True when the TPM says that it is swtpm. A software TPM can say what it likes, so false proves nothing.
    #[must_use]
    pub fn is_software(&self) -> bool {
        self.manufacturer == "IBM" && self.vendor.starts_with("SW")
    }
}

/// The TPM's clock (TPMS_CLOCK_INFO).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// Milliseconds during which the TPM was powered, since it was last cleared.
    pub milliseconds: u64,
    /// How often it was reset.
    pub reset_count: u32,
    /// How often it was restarted or resumed since the last reset.
    pub restart_count: u32,
    /// Whether no higher value of the clock can have been reported before.
    pub safe: bool,
}

/// True for a handle of the range that survives power cycles.
pub(crate) fn is_persistent(handle: u32) -> bool {
    handle >> 24 == 0x81
}

fn printable(bytes: &[u8]) -> String {
    let text: String = bytes.iter().filter(|byte| (0x20..0x7f).contains(*byte)).map(|byte| char::from(*byte)).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

const STARTUP_CLEAR: u16 = 0;
const CAPABILITY_HANDLES: u32 = 1;
const CAPABILITY_PCRS: u32 = 5;
const CAPABILITY_PROPERTIES: u32 = 6;

/// Milliseconds to wait after each attempt that the TPM was not ready for; the last attempt waits for nothing.
const RETRY_PAUSES: [u64; 8] = [5, 20, 50, 100, 250, 500, 1000, 0];

//! The one call that has no safe form: the security module's ioctl.
//!
//! The driver takes a pair of buffers by address and length, reads the first and fills the second (Linux, include/uapi/linux/nsm.h:
//! `NSM_IOCTL_RAW`). Both live in this function for as long as the call, and the length that comes back is bounded by what was offered.

use std::{fs::File, io, path::Path};

use rustix::ioctl::{Updater, ioctl, opcode};

use crate::nitro::SecurityModule;

/// An open `/dev/nsm`.
pub struct Device {
    file: File,
}

/// `struct nsm_raw`: two `struct nsm_iovec`.
#[repr(C)]
struct Raw {
    request: [u64; 2],
    response: [u64; 2],
}

impl Device {
    pub(crate) fn open(path: &Path) -> io::Result<Device> {
        Ok(Device { file: File::options().read(true).write(true).open(path)? })
    }
}

impl SecurityModule for Device {
    fn exchange(&mut self, request: &[u8]) -> io::Result<Vec<u8>> {
        let mut response = vec![0u8; MAX_RESPONSE];
        let mut raw = Raw {
            request: [request.as_ptr() as u64, request.len() as u64],
            response: [response.as_mut_ptr() as u64, response.len() as u64],
        };
        // SAFETY: the opcode is this driver's, `Raw` has the layout that it names, and both buffers outlive the call.
        unsafe { ioctl(&self.file, Updater::<{ opcode::read_write::<Raw>(0x0a, 0) }, Raw>::new(&mut raw))? };
        let [_, size] = raw.response;
        response.truncate(usize::try_from(size).unwrap_or_default().min(MAX_RESPONSE));
        Ok(response)
    }
}

/// `NSM_RESPONSE_MAX_SIZE`.
const MAX_RESPONSE: usize = 0x3000;

//! Where a TPM is found, and how people write that down.
//!
//! Three places are known: a Linux device, a Unix socket and a TCP socket. The sockets speak the raw command stream that
//! swtpm offers on its data channel; the older simulator protocol with its own framing is deliberately absent.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where a TPM listens; its text form is `device:PATH`, `unix:PATH` or `tcp:IP:PORT`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// A character device: `/dev/tpmrm0` (shared through the kernel's resource manager) or `/dev/tpm0` (exclusive).
    Device(PathBuf),
    /// A Unix socket on which swtpm serves its data channel.
    UnixSocket(PathBuf),
    /// A TCP socket on which swtpm serves its data channel.
    Tcp(SocketAddr),
}

impl Address {
    /// The devices at which a machine's own TPM is found, best first.
    pub const DEVICES: [&'static str; 2] = ["/dev/tpmrm0", "/dev/tpm0"];

    /// True when the kernel keeps the objects of different users of this TPM apart.
    pub(crate) fn has_resource_manager(&self) -> bool {
        match self {
            Address::Device(path) => file_name(path).starts_with("tpmrm"),
            Address::UnixSocket(_) | Address::Tcp(_) => false,
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    /// Reads the text form.
    ///
    /// # Errors
    /// [`AddressError`] names what is wrong: the scheme, an empty path, or the IP address and port.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let unknown = || AddressError::Scheme { text: text.to_owned() };
        let (scheme, rest) = text.split_once(':').ok_or_else(unknown)?;
        if rest.is_empty() {
            return Err(AddressError::Empty { scheme: scheme.to_owned() });
        }
        match scheme {
            "device" => Ok(Address::Device(rest.into())),
            "unix" => Ok(Address::UnixSocket(rest.into())),
            "tcp" => match rest.parse() {
                Ok(socket) => Ok(Address::Tcp(socket)),
                Err(_) => Err(AddressError::Socket { text: rest.to_owned() }),
            },
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Device(path) => write!(out, "device:{}", path.display()),
            Address::UnixSocket(path) => write!(out, "unix:{}", path.display()),
            Address::Tcp(socket) => write!(out, "tcp:{socket}"),
        }
    }
}

/// Why a text is no [`Address`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The part before the first colon is none that is known, or there is no colon.
    #[error(
        "`{text}` does not say how to reach a TPM\nhint: write `device:/dev/tpmrm0`, `unix:/path/to/socket` or `tcp:127.0.0.1:2321`"
    )]
    Scheme {
        /// The whole text.
        text: String,
    },
    /// Nothing follows the scheme.
    #[error(
        "nothing follows `{scheme}:`\nhint: write `device:/dev/tpmrm0`, `unix:/path/to/socket` or `tcp:127.0.0.1:2321`"
    )]
    Empty {
        /// The scheme as written.
        scheme: String,
    },
    /// What follows `tcp:` is not an IP address with a port.
    #[error(
        "`{text}` is not an IP address with a port\nhint: names are not resolved; write for example `tcp:127.0.0.1:2321`"
    )]
    Socket {
        /// What follows `tcp:`.
        text: String,
    },
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_round_trips() {
        for text in ["device:/dev/tpmrm0", "unix:/run/a b/tpm.sock", "tcp:127.0.0.1:2321", "tcp:[::1]:2321"] {
            let address: Address = text.parse().unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn each_mistake_has_its_own_error() {
        let parse = str::parse::<Address>;
        assert_eq!(parse("/dev/tpm0"), Err(AddressError::Scheme { text: "/dev/tpm0".into() }));
        assert_eq!(parse("swtpm:x"), Err(AddressError::Scheme { text: "swtpm:x".into() }));
        assert_eq!(parse("unix:"), Err(AddressError::Empty { scheme: "unix".into() }));
        assert_eq!(parse("tcp:localhost:1"), Err(AddressError::Socket { text: "localhost:1".into() }));
    }

    #[test]
    fn only_the_resource_manager_device_shares() {
        assert!(Address::Device("/dev/tpmrm1".into()).has_resource_manager());
        assert!(!Address::Device("/dev/tpm0".into()).has_resource_manager());
    }
}

//! Moves one command to the TPM and one response back.
//!
//! A TPM answers commands strictly in turn, so a connection is a pair of blocking calls. Sockets have a time limit,
//! because swtpm serves one connection at a time and would leave a second one waiting in silence; a device has none, for
//! the kernel has its own. A response is bounded by [`MAX_MESSAGE`] before anything is allocated.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::address::Address;
use crate::error::TpmError;

/// The largest command or response in bytes; TPMs in use have buffers of 4096.
pub(crate) const MAX_MESSAGE: usize = 4096;

/// An open connection to a TPM.
pub(crate) struct Transport {
    address: Address,
    stream: Stream,
}

impl Transport {
    /// Opens the connection.
    pub(crate) fn open(address: &Address) -> Result<Self, TpmError> {
        let stream = connect(address).map_err(|source| TpmError::Open { address: address.clone(), source })?;
        Ok(Transport { address: address.clone(), stream })
    }

    /// Where this connection leads.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Sends one command and waits for its response, both whole messages with their ten-byte headers.
    pub(crate) fn exchange(&mut self, command: &[u8]) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        let outcome = match &mut self.stream {
            Stream::Device(file) => exchange_with_device(file, command),
            Stream::Unix(socket) => exchange_with_socket(socket, command),
            Stream::Tcp(socket) => exchange_with_socket(socket, command),
        };
        outcome.map_err(|source| broken(&self.address, source))
    }
}

enum Stream {
    Device(File),
    Unix(UnixStream),
    Tcp(TcpStream),
}

fn connect(address: &Address) -> io::Result<Stream> {
    match address {
        Address::Device(path) => File::options().read(true).write(true).open(path).map(Stream::Device),
        Address::UnixSocket(path) => {
            let socket = UnixStream::connect(path)?;
            socket.set_read_timeout(Some(TIME_LIMIT))?;
            socket.set_write_timeout(Some(TIME_LIMIT))?;
            Ok(Stream::Unix(socket))
        }
        Address::Tcp(to) => {
            let socket = TcpStream::connect_timeout(to, TIME_LIMIT)?;
            socket.set_read_timeout(Some(TIME_LIMIT))?;
            socket.set_write_timeout(Some(TIME_LIMIT))?;
            socket.set_nodelay(true)?;
            Ok(Stream::Tcp(socket))
        }
    }
}

/// A device takes a command in one write and gives the whole response in one read.
fn exchange_with_device(file: &mut File, command: &[u8]) -> io::Result<Zeroizing<Vec<u8>>> {
    let written = file.write(command)?;
    if written != command.len() {
        return Err(ErrorKind::WriteZero.into());
    }
    let mut response = Zeroizing::new(vec![0; MAX_MESSAGE]);
    let length = file.read(&mut response)?;
    if length == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    response.truncate(length);
    Ok(response)
}

fn exchange_with_socket(socket: &mut (impl Read + Write), command: &[u8]) -> io::Result<Zeroizing<Vec<u8>>> {
    socket.write_all(command)?;
    let mut header = [0; HEADER];
    socket.read_exact(&mut header)?;
    let [_, _, a, b, c, d, ..] = header;
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    let Some(rest) = length.checked_sub(HEADER).filter(|_| length <= MAX_MESSAGE) else {
        return Err(ErrorKind::InvalidData.into());
    };
    let mut response = Zeroizing::new(Vec::with_capacity(length));
    response.extend_from_slice(&header);
    let mut body = Zeroizing::new(vec![0; rest]);
    socket.read_exact(&mut body)?;
    response.extend_from_slice(&body);
    Ok(response)
}

fn broken(address: &Address, source: io::Error) -> TpmError {
    let address = address.clone();
    match source.kind() {
        ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => TpmError::Closed { address },
        ErrorKind::WouldBlock | ErrorKind::TimedOut => TpmError::TimedOut { address },
        ErrorKind::InvalidData => TpmError::Malformed { command: "any", what: "response length" },
        _ => TpmError::Broken { address, source },
    }
}

/// How long a socket may stay silent. Making an RSA key takes a slow TPM many seconds.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// Tag, length and code: the header of every message.
const HEADER: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    struct Canned {
        response: io::Cursor<Vec<u8>>,
    }

    impl Read for Canned {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.response.read(into)
        }
    }

    impl Write for Canned {
        fn write(&mut self, from: &[u8]) -> io::Result<usize> {
            Ok(from.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn answer(response: &[u8]) -> Result<Vec<u8>, ErrorKind> {
        let mut canned = Canned { response: io::Cursor::new(response.to_vec()) };
        exchange_with_socket(&mut canned, b"command").map(|bytes| bytes.to_vec()).map_err(|error| error.kind())
    }

    #[test]
    fn a_response_is_read_to_its_stated_length() {
        let response = [0x80, 1, 0, 0, 0, 12, 0, 0, 0, 0, 7, 8];
        assert_eq!(answer(&response), Ok(response.to_vec()));
        assert_eq!(answer(&response[..11]), Err(ErrorKind::UnexpectedEof));
    }

    #[test]
    fn a_length_that_cannot_be_is_refused_before_allocation() {
        assert_eq!(answer(&[0x80, 1, 0, 0, 0, 9, 0, 0, 0, 0]), Err(ErrorKind::InvalidData));
        assert_eq!(answer(&[0x80, 1, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]), Err(ErrorKind::InvalidData));
    }
}

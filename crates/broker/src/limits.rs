//! Bounds on what anybody may ask: bytes, time, requests per source.
//!
//! Rates are kept by the generic cell rate algorithm (ITU-T I.371) in a fixed number of cells, each one number. A source is hashed to a cell
//! under a random key, so memory does not grow with the number of sources, and nobody can choose whom to share a cell with.
//! Two sources that share one share its rate.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// The largest request read, in bytes.
pub const MAX_REQUEST: usize = 8 << 20;
/// The largest request of those that anybody may send and that carry no document of a party's, in bytes.
pub const MAX_SMALL_REQUEST: usize = 1 << 20;
/// The largest sealed result taken, in bytes.
pub const MAX_RESULT: usize = 60 << 20;
/// A result in base64, with what stands around it.
pub const MAX_RESULT_REQUEST: usize = MAX_RESULT / 3 * 4 + (2 << 20);
/// The largest request for a challenge of the KBS protocol, in bytes. Anything may stand in it, and what is read takes up to a hundred times as much
/// memory: seven bytes can be an object.
pub const MAX_KBS_AUTH: usize = 16 << 10;
/// The largest attestation of the KBS protocol, in bytes, for the same reason.
pub const MAX_KBS_ATTESTATION: usize = 256 << 10;
/// How long a request may take to arrive and be answered; a worker's question for work may take as long again.
pub const REQUEST_TIME: Duration = Duration::from_secs(30);

/// Requests per second and source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// In the long run.
    pub per_second: u32,
    /// At once.
    pub burst: u32,
}

/// One rate for every source.
pub struct Limiter {
    cells: Box<[AtomicU64]>,
    hash: RandomState,
    origin: Instant,
    interval: u64,
    tolerance: u64,
}

impl Limiter {
    /// No source may go beyond `rate`, whose numbers count as at least 1.
    #[must_use]
    pub fn new(rate: Rate) -> Limiter {
        let interval = 1_000_000_000 / u64::from(rate.per_second.max(1));
        Limiter {
            cells: (0..CELLS).map(|_| AtomicU64::new(0)).collect(),
            hash: RandomState::new(),
            origin: Instant::now(),
            interval,
            tolerance: interval.saturating_mul(u64::from(rate.burst.max(1))),
        }
    }

    /// Counts a request; false when it is one too many.
    pub fn admits(&self, source: &SocketAddr) -> bool {
        let now = u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.admits_at(source, now)
    }

    fn admits_at(&self, source: &SocketAddr, now: u64) -> bool {
        let place = usize::try_from(self.hash.hash_one(network(source.ip()))).unwrap_or(0) % CELLS;
        let Some(cell) = self.cells.get(place) else { return false };
        let next = |full: u64| {
            let full = full.max(now).saturating_add(self.interval);
            (full.saturating_sub(now) <= self.tolerance).then_some(full)
        };
        cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }
}

/// An IPv4 address, or the network of 64 bits that one IPv6 subscriber has.
fn network(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => address.to_ipv6_mapped().octets(),
            None => {
                let mut octets = address.octets();
                octets.iter_mut().skip(8).for_each(|octet| *octet = 0);
                octets
            }
        },
    }
}

const CELLS: usize = 16_384;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_source_gets_its_burst_and_then_its_rate() {
        let limiter = Limiter::new(Rate { per_second: 10, burst: 5 });
        let source = "192.0.2.1:4000".parse().unwrap();
        let admitted = |at: u64, asked: usize| (0..asked).filter(|_| limiter.admits_at(&source, at)).count();
        assert_eq!(admitted(SECOND, 100), 5);
        assert_eq!(admitted(2 * SECOND, 100), 5);
        assert_eq!((0..10).map(|tenth| admitted(3 * SECOND + tenth * SECOND / 10, 100)).sum::<usize>(), 14);
    }

    #[test]
    fn the_port_and_the_last_half_of_an_ipv6_address_do_not_make_another_source() {
        let limiter = Limiter::new(Rate { per_second: 1, burst: 1 });
        let admits = |source: &str| limiter.admits_at(&source.parse().unwrap(), SECOND);
        assert!(admits("[2001:db8::1]:1"));
        assert!(!admits("[2001:db8::ffff]:2"));
        assert!(admits("192.0.2.1:1"));
        assert!(!admits("[::ffff:192.0.2.1]:2"));
    }
}

//! How often each may cause what costs others something: so many at once, then one every so often.
//!
//! It keeps one time for each who has not yet earned back all of it, and for no more than a fixed number; beyond that, newcomers wait.

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use tokio::time::Instant;

/// The same allowance for each.
pub(crate) struct Allowances<K> {
    at_once: u32,
    every: Duration,
    /// When all will have been earned back.
    whole_again: HashMap<K, Instant>,
}

/// Who asks: an IPv4 address, or the network of an IPv6 address (its first 64 bits), within which addresses cost nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Network(IpAddr);

impl<K: Eq + Hash> Allowances<K> {
    pub(crate) fn new(at_once: u32, every: Duration) -> Allowances<K> {
        Allowances { at_once, every, whole_again: HashMap::new() }
    }

    /// Takes one of `who`'s, if there is one left.
    pub(crate) fn take(&mut self, who: K, now: Instant) -> bool {
        if self.whole_again.len() >= MOST {
            self.whole_again.retain(|_, whole| *whole > now);
        }
        let known = self.whole_again.get(&who).copied();
        if known.is_none() && self.whole_again.len() >= MOST {
            return false;
        }
        let whole = known.unwrap_or(now).max(now) + self.every;
        let fits = whole <= now + self.every.saturating_mul(self.at_once);
        if fits {
            self.whole_again.insert(who, whole);
        }
        fits
    }
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Network {
        Network(match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
        })
    }
}

const MOST: usize = 4_096;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn so_many_at_once_then_one_every_so_often_for_each_apart() {
        let mut allowances = Allowances::new(3, Duration::from_secs(10));
        let now = Instant::now();
        let taken = |allowances: &mut Allowances<u32>, who, seconds| {
            (0..5).filter(|_| allowances.take(who, now + Duration::from_secs(seconds))).count()
        };
        assert_eq!(taken(&mut allowances, 1, 0), 3);
        assert_eq!(taken(&mut allowances, 2, 0), 3);
        assert_eq!(taken(&mut allowances, 1, 10), 1);
        assert_eq!(taken(&mut allowances, 1, 1_000), 3);
    }

    #[test]
    fn a_crowd_takes_a_fixed_amount_of_memory() {
        let mut allowances = Allowances::new(3, Duration::from_secs(10));
        let now = Instant::now();
        assert_eq!((0..MOST + 100).filter(|who| allowances.take(*who, now)).count(), MOST);
        assert_eq!(allowances.whole_again.len(), MOST);
        assert!(allowances.take(2 * MOST, now + Duration::from_secs(11)));
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one() {
        let network = |text: &str| Network::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:1"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
        assert_ne!(network("192.0.2.2"), network("192.0.2.1"));
    }
}

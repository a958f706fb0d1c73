//! The broker's time: the system's, as long as it can be believed.
//!
//! The operator owns the clock. What a clock that is turned back could revive are expired statements, challenges and leases; what
//! a jump forward could do is to end leases early and to forget nonces, and turning it back afterwards would then
//! revive them. So the latest time that was ever acted upon is kept in the store (the high-water mark), and the time that has
//! passed since the start is compared with a clock that nobody sets. A time that fits neither refuses every effect.
//!
//! Deliberately absent: another source of time. A clock that was wrong from the first start on is believed.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use crate::{
    records::{Records, table},
    store::{StoreError, Tx},
};

/// One look at both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The system's time of day.
    pub wall: Timestamp,
    /// Time since some fixed moment, from a clock that only goes forward.
    pub steady: Duration,
}

/// Where readings come from.
pub type TimeSource = Arc<dyn Fn() -> Reading + Send + Sync>;

/// The guarded clock.
pub struct Clock {
    source: TimeSource,
    start: Reading,
    high_water: Mutex<Timestamp>,
}

/// Why a time is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClockError {
    /// Earlier than what was acted upon before.
    #[error(
        "the clock went back: it says {now}, but the broker has acted at {acted}\nhint: set the clock; the broker serves again once it has caught up"
    )]
    WentBack {
        /// What the clock says.
        now: Timestamp,
        /// The high-water mark.
        acted: Timestamp,
    },
    /// Further from the start than time has passed.
    #[error("the clock jumped by {0:#} since the broker started\nhint: set the clock and restart the broker")]
    Jumped(SignedDuration),
}

impl Clock {
    /// The system's clocks.
    pub fn system() -> TimeSource {
        let origin = std::time::Instant::now();
        Arc::new(move || Reading { wall: Timestamp::now(), steady: origin.elapsed() })
    }

    /// Starts from the high-water mark of the store.
    ///
    /// # Errors
    /// Only those of the store: a clock that is behind is refused at each [`Clock::now`], until it has caught up.
    pub(crate) fn start(source: TimeSource, records: &impl Records) -> Result<Clock, StoreError> {
        let stored = records.get(table::CLOCK, b"")?.and_then(|stored| {
            let millis = i64::from_be_bytes(stored.record.try_into().ok()?);
            Timestamp::from_millisecond(millis).ok()
        });
        let start = source();
        let high_water = Mutex::new(stored.unwrap_or(Timestamp::UNIX_EPOCH));
        Ok(Clock { source, start, high_water })
    }

    /// The time, if it can be believed.
    ///
    /// # Errors
    /// [`ClockError`].
    pub fn now(&self) -> Result<Timestamp, ClockError> {
        let reading = (self.source)();
        let passed = reading.steady.saturating_sub(self.start.steady);
        let passed = SignedDuration::try_from(passed).unwrap_or(SignedDuration::MAX);
        let difference = reading.wall.duration_since(self.start.wall).saturating_sub(passed);
        let mut high_water = self.high_water.lock().unwrap_or_else(PoisonError::into_inner);
        if reading.wall < *high_water && high_water.duration_since(reading.wall) > TOLERANCE {
            return Err(ClockError::WentBack { now: reading.wall, acted: *high_water });
        }
        if difference.abs() > LARGEST_JUMP {
            return Err(ClockError::Jumped(difference));
        }
        *high_water = (*high_water).max(reading.wall);
        // Within the tolerance time stands still rather than going back.
        Ok(*high_water)
    }

    /// What the system's clock says, believed or not: for descriptions only.
    pub fn unguarded(&self) -> Timestamp {
        (self.source)().wall
    }

    /// Keeps the time of an effect, with that effect.
    pub(crate) fn mark(tx: &mut Tx<'_, '_>, now: Timestamp) -> Result<(), StoreError> {
        let stored =
            tx.get(table::CLOCK, b"")?.and_then(|stored| Some(i64::from_be_bytes(stored.record.try_into().ok()?)));
        let millis = now.as_millisecond();
        if stored.is_none_or(|stored| millis >= stored.saturating_add(GRAIN_MS)) {
            tx.put(table::CLOCK, b"", &millis.to_be_bytes())?;
        }
        Ok(())
    }
}

const TOLERANCE: SignedDuration = SignedDuration::from_secs(5);
const LARGEST_JUMP: SignedDuration = SignedDuration::from_secs(300);
/// The mark is written at most this often; less than the tolerance.
const GRAIN_MS: i64 = 1_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

    use super::*;
    use crate::store::{Store, StoreKey};
    use redb::backends::InMemoryBackend;

    fn store() -> Store {
        let signer = tlog::LogSigner::new("test", ed25519_dalek::SigningKey::from_bytes(&[3; 32])).unwrap();
        Store::create_on(InMemoryBackend::new(), &StoreKey::from_bytes([1; 32]), signer).unwrap()
    }

    fn at(wall: Timestamp, steady: u64) -> Reading {
        Reading { wall, steady: Duration::from_secs(steady) }
    }

    fn noon() -> Timestamp {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }

    fn hand() -> (Arc<Mutex<Reading>>, TimeSource) {
        let hand = Arc::new(Mutex::new(at(noon(), 0)));
        let read = Arc::clone(&hand);
        (hand, Arc::new(move || *read.lock().unwrap()))
    }

    #[test]
    fn h5_a_clock_that_goes_back_is_refused_until_it_has_caught_up() {
        let (hand, source) = hand();
        let clock = Clock::start(source, &store()).unwrap();
        assert_eq!(clock.now(), Ok(noon()));
        let year = SignedDuration::from_hours(24 * 365);
        *hand.lock().unwrap() = at(noon() - year, 1);
        assert_eq!(clock.now(), Err(ClockError::WentBack { now: noon() - year, acted: noon() }));
        *hand.lock().unwrap() = at(noon() - SignedDuration::from_secs(5), 1);
        assert_eq!(clock.now(), Ok(noon()));
        *hand.lock().unwrap() = at(noon() + SignedDuration::from_secs(2), 2);
        assert_eq!(clock.now(), Ok(noon() + SignedDuration::from_secs(2)));
    }

    #[test]
    fn h5_a_jump_forward_is_refused_and_leaves_no_mark() {
        let (hand, source) = hand();
        let clock = Clock::start(source, &store()).unwrap();
        let year = SignedDuration::from_hours(24 * 365);
        *hand.lock().unwrap() = at(noon() + year, 0);
        assert_eq!(clock.now(), Err(ClockError::Jumped(year)));
        *hand.lock().unwrap() = at(noon() + SignedDuration::from_secs(1), 1);
        assert_eq!(clock.now(), Ok(noon() + SignedDuration::from_secs(1)));
    }

    #[test]
    fn h5_the_mark_outlives_a_restart() {
        let store = store();
        store.commit_blocking(|tx| Clock::mark(tx, noon())).unwrap();
        let (hand, source) = hand();
        let earlier = noon() - SignedDuration::from_secs(3600);
        *hand.lock().unwrap() = at(earlier, 0);
        let clock = Clock::start(source, &store).unwrap();
        assert_eq!(clock.now(), Err(ClockError::WentBack { now: earlier, acted: noon() }));
    }
}

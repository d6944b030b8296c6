//! Defines event times: the exact order key, and its microsecond rendering.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

/// First second that an event's time may have: 2000-01-01T00:00:00Z.
pub const EARLIEST_SECONDS: f64 = 946_684_800.0;
/// Last second that an event's time may have: 2100-01-01T00:00:00Z.
pub const LATEST_SECONDS: f64 = 4_102_444_800.0;

/// Orders an event among its sender's events: Unix seconds, as the exact 64-bit float that the
/// producer wrote.
///
/// Inside one sender the exact floats of a real Rasa stream are practically distinct, while their
/// microseconds tie for 1 to 2.6 % of the events. So the float decides the order, and only
/// rendering rounds.
///
/// ```
/// use turnmill_model::EventTime;
/// let time = EventTime::from_seconds(1656382549.326936).unwrap();
/// assert_eq!(time.micros(), 1_656_382_549_326_936);
/// assert!(EventTime::from_seconds(5.0).is_none(), "before the year 2000");
/// ```
///
/// The feature `chrono` converts it from and to `chrono::DateTime<Utc>`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct EventTime(f64);

impl EventTime {
    /// The first usable time.
    pub const EARLIEST: Self = Self(EARLIEST_SECONDS);

    /// Returns the time `seconds` after the Unix epoch, or `None` outside `[EARLIEST_SECONDS,
    /// LATEST_SECONDS]` and for NaN: such a number is no time of a conversation.
    #[must_use]
    pub fn from_seconds(seconds: f64) -> Option<Self> {
        (EARLIEST_SECONDS..=LATEST_SECONDS).contains(&seconds).then_some(Self(seconds))
    }

    /// Returns a usable time at most a millisecond earlier than `micros`. No event at or after
    /// `micros` is before it.
    ///
    /// ```
    /// use turnmill_model::EventTime;
    /// let time = EventTime::from_seconds(1656382549.326936).unwrap();
    /// assert!(EventTime::not_after(time.micros()) <= time);
    /// assert_eq!(EventTime::not_after(i64::MIN), EventTime::EARLIEST);
    /// ```
    #[must_use]
    pub fn not_after(micros: i64) -> Self {
        Self((micros as f64 / 1e6 - 0.001).clamp(EARLIEST_SECONDS, LATEST_SECONDS))
    }

    /// Returns the Unix seconds, the float as written.
    #[must_use]
    pub fn seconds(self) -> f64 {
        self.0
    }

    /// Returns the microseconds since the Unix epoch:
    /// `floor(t) * 10^6 + round_half_even((t - floor(t)) * 10^6)`.
    ///
    /// The fraction is rounded on its own, because `round(t * 1e6)` differs for one event in eight.
    #[must_use]
    pub fn micros(self) -> i64 {
        let whole = self.0.floor();
        let micros = ((self.0 - whole) * 1e6).round_ties_even();
        // Both parts are integers below 2^53, so the casts are exact.
        whole as i64 * 1_000_000 + micros as i64
    }
}

impl PartialEq for EventTime {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for EventTime {}

impl PartialOrd for EventTime {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for EventTime {
    fn cmp(&self, other: &Self) -> Ordering {
        // Usable times are positive and finite, where the total order is the numeric one.
        self.0.total_cmp(&other.0)
    }
}

impl fmt::Display for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Micros(self.micros()))
    }
}

/// Microseconds since the Unix epoch, UTC. They display as `YYYY-MM-DD HH:MM:SS.ffffff`.
///
/// ```
/// use turnmill_model::Micros;
/// assert_eq!(Micros(1_656_382_549_326_936).to_string(), "2022-06-28 02:15:49.326936");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Micros(pub i64);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.div_euclid(1_000_000);
        let micros = self.0.rem_euclid(1_000_000);
        let days = seconds.div_euclid(86_400);
        let (hour, minute, second) =
            (seconds.rem_euclid(86_400) / 3600, seconds.rem_euclid(3600) / 60, seconds.rem_euclid(60));
        let (year, month, day) = civil_from_days(days);
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{micros:06}")
    }
}

impl Micros {
    /// Reads what [`Display`](fmt::Display) writes. Returns `None` for anything else.
    ///
    /// ```
    /// use turnmill_model::Micros;
    /// assert_eq!(Micros::parse("2022-06-28 02:15:49.326936"), Some(Micros(1_656_382_549_326_936)));
    /// ```
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() != 26 || !text.is_ascii() {
            return None;
        }
        let shape_fits = bytes[4] == b'-'
            && bytes[7] == b'-'
            && bytes[10] == b' '
            && bytes[13] == b':'
            && bytes[16] == b':'
            && bytes[19] == b'.';
        let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
        if !shape_fits {
            return None;
        }
        let days = days_from_civil(number(0..4)?, number(5..7)?, number(8..10)?);
        let seconds = days * 86_400 + number(11..13)? * 3600 + number(14..16)? * 60 + number(17..19)?;
        Some(Self(seconds * 1_000_000 + number(20..26)?))
    }
}

/// Converts days since 1970-01-01 to (year, month, day) of the proleptic Gregorian calendar.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096).div_euclid(365);
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let shifted_year = if month <= 2 { year - 1 } else { year };
    let era = shifted_year.div_euclid(400);
    let year_of_era = shifted_year.rem_euclid(400);
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn micros_round_the_fraction_alone_and_half_to_even() {
        // 0.5 us ties exactly representable: .5 fraction scaled; 1e9 + 2^-21 s = 0.476837 us.
        let time = |t| EventTime::from_seconds(t).unwrap().micros();
        assert_eq!(time(1_000_000_000.0), 1_000_000_000_000_000);
        assert_eq!(time(1_795_225_518.907_178_4), 1_795_225_518_907_178);
        assert_eq!(time(1_000_000_000.0 + 1.0 / 1024.0), 1_000_000_000_000_977);
    }

    #[test]
    fn dates_round_trip() {
        for micros in [946_684_800_000_000, 951_782_400_123_456, 4_102_444_800_000_000, 1_709_164_800_000_001]
        {
            assert_eq!(Micros::parse(&Micros(micros).to_string()), Some(Micros(micros)));
        }
        assert_eq!(Micros(951_782_400_123_456).to_string(), "2000-02-29 00:00:00.123456");
        assert_eq!(Micros::parse("2000-02-29T00:00:00.123456"), None);
    }

    #[test]
    fn bounds_are_inclusive() {
        assert!(EventTime::from_seconds(EARLIEST_SECONDS).is_some());
        assert!(EventTime::from_seconds(LATEST_SECONDS).is_some());
        assert!(EventTime::from_seconds(LATEST_SECONDS + 1e-3).is_none());
        assert!(EventTime::from_seconds(f64::NAN).is_none());
    }
}

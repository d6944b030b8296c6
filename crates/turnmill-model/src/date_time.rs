//! Converts event times to and from the date-times of chrono: the feature `chrono`.

use chrono::{DateTime, Utc};

use crate::{EventTime, Micros};

/// Returns the date and time as the tables show it: rounded to a microsecond, see
/// [`EventTime::micros`].
///
/// The exact float is lost, and with it the order of two events in the same microsecond. Compare
/// the [`EventTime`]s instead.
///
/// ```
/// use chrono::{DateTime, Utc};
/// use turnmill_model::EventTime;
/// let time = EventTime::from_seconds(1656382549.326936).unwrap();
/// assert_eq!(DateTime::<Utc>::from(time).to_rfc3339(), "2022-06-28T02:15:49.326936+00:00");
/// ```
impl From<EventTime> for DateTime<Utc> {
    fn from(time: EventTime) -> Self {
        // Every event time is in the years 2000 to 2100, which chrono has.
        Self::from_timestamp_micros(time.micros()).unwrap_or_default()
    }
}

/// Returns the event time whose float is nearest to the date and time: the one that a producer
/// writes.
///
/// [`EventTime::micros`] gives whole microseconds back unchanged. Nanoseconds are rounded: floats
/// of these years have steps of an eighth to a half of a microsecond.
///
/// # Errors
///
/// [`TimeOutOfRange::NoEventTime`] before the year 2000 and after the first second of 2100.
///
/// ```
/// use chrono::{DateTime, Utc};
/// use turnmill_model::{EventTime, TimeOutOfRange};
/// let time: DateTime<Utc> = "2022-06-28T02:15:49.326936Z".parse()?;
/// assert_eq!(EventTime::try_from(time)?.seconds(), 1656382549.326936);
///
/// let early: DateTime<Utc> = "1999-12-31T23:59:59Z".parse()?;
/// assert_eq!(EventTime::try_from(early), Err(TimeOutOfRange::NoEventTime(early)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl TryFrom<DateTime<Utc>> for EventTime {
    type Error = TimeOutOfRange;

    fn try_from(time: DateTime<Utc>) -> Result<Self, Self::Error> {
        let nearest = || {
            // Parsing a decimal rounds once. Dividing a float of all nanoseconds would round twice.
            let nanos = time.timestamp_nanos_opt()?;
            let (seconds, part) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
            format!("{seconds}.{part:09}").parse().ok().and_then(Self::from_seconds)
        };
        nearest().ok_or(TimeOutOfRange::NoEventTime(time))
    }
}

/// Returns the date and time.
///
/// # Errors
///
/// [`TimeOutOfRange::NoDateTime`] outside of the years that chrono has: about -262,000 to 262,000.
///
/// ```
/// use chrono::{DateTime, Utc};
/// use turnmill_model::Micros;
/// let time = DateTime::<Utc>::try_from(Micros(1_656_382_549_326_936))?;
/// assert_eq!(time.to_rfc3339(), "2022-06-28T02:15:49.326936+00:00");
/// # Ok::<(), turnmill_model::TimeOutOfRange>(())
/// ```
impl TryFrom<Micros> for DateTime<Utc> {
    type Error = TimeOutOfRange;

    fn try_from(micros: Micros) -> Result<Self, Self::Error> {
        Self::from_timestamp_micros(micros.0).ok_or(TimeOutOfRange::NoDateTime(micros))
    }
}

/// Returns the microsecond that the date and time is in.
///
/// ```
/// use chrono::{DateTime, Utc};
/// use turnmill_model::Micros;
/// let time: DateTime<Utc> = "2022-06-28T02:15:49.3269369Z".parse()?;
/// assert_eq!(Micros::from(time), Micros(1_656_382_549_326_936));
/// # Ok::<(), chrono::ParseError>(())
/// ```
impl From<DateTime<Utc>> for Micros {
    fn from(time: DateTime<Utc>) -> Self {
        Self(time.timestamp_micros())
    }
}

/// Error of a time that the other type cannot hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeOutOfRange {
    /// No event can have this time.
    #[error("{0} is no time of an event: expected 2000-01-01 to 2100-01-01, UTC")]
    NoEventTime(DateTime<Utc>),
    /// The calendar of chrono ends before this time.
    #[error("{} microseconds since 1970 are beyond the calendar", .0.0)]
    NoDateTime(Micros),
}

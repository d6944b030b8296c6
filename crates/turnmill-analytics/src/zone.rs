//! Local time of a zone: from wall clock to instant and back.
//!
//! The databases know no zones here. All boundaries are made in UTC by this crate, so that SQLite
//! and PostgreSQL give the same numbers.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike as _, LocalResult, NaiveDate, NaiveDateTime, Offset as _, TimeDelta};
use chrono::{TimeZone as _, Utc};
use chrono_tz::Tz;
use turnmill_model::Micros;

/// Longest distance of a wall clock from UTC, with the longest jump of one: a day, where a country
/// changed its side of the date line.
const REACH: TimeDelta = TimeDelta::hours(48);
/// Distance at which offsets are compared to find changes of a clock. No zone has two changes that
/// undo each other within it.
const STEP: TimeDelta = TimeDelta::hours(6);

/// A time zone of the IANA database.
///
/// ```
/// use turnmill_analytics::Zone;
/// use turnmill_model::Micros;
/// let zone: Zone = "Asia/Kathmandu".parse()?;
/// let midnight = zone.midnight(chrono::NaiveDate::from_ymd_opt(2026, 11, 21).unwrap());
/// assert_eq!(midnight.to_string(), "2026-11-20 18:15:00.000000");
/// # Ok::<(), turnmill_analytics::UnknownZone>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zone(Tz);

/// A name that is no zone of the IANA database.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is no time zone: use a name such as Europe/Berlin or UTC")]
pub struct UnknownZone {
    /// The name.
    pub name: String,
}

impl FromStr for Zone {
    type Err = UnknownZone;

    fn from_str(name: &str) -> Result<Self, UnknownZone> {
        name.trim().parse().map(Self).map_err(|_| UnknownZone { name: name.trim().to_owned() })
    }
}

impl Default for Zone {
    fn default() -> Self {
        Self(Tz::UTC)
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

/// A stretch of time in which the zone's clock does not change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stretch {
    pub(crate) start: DateTime<Utc>,
    pub(crate) end: DateTime<Utc>,
    /// Wall clock minus UTC.
    pub(crate) offset: TimeDelta,
}

impl Zone {
    /// Returns the wall clock at an instant.
    #[must_use]
    pub fn local(self, instant: Micros) -> NaiveDateTime {
        let utc = utc(instant);
        utc.naive_utc() + self.offset(utc)
    }

    /// Returns the instant at which the wall clock shows `local`.
    ///
    /// A time that a change of clocks skips is the first instant after it. One that comes twice is
    /// the first.
    #[must_use]
    pub fn instant(self, local: NaiveDateTime) -> Micros {
        let found = match self.0.from_local_datetime(&local) {
            LocalResult::Single(time) => time.to_utc(),
            LocalResult::Ambiguous(one, other) => one.to_utc().min(other.to_utc()),
            LocalResult::None => self.after_gap(local),
        };
        micros(found)
    }

    /// Returns the first instant of a local day.
    #[must_use]
    pub fn midnight(self, day: NaiveDate) -> Micros {
        self.instant(day.into())
    }

    /// Returns the local day whose first instant is `instant`, or `None` if it is none's.
    pub(crate) fn day_that_begins(self, instant: Micros) -> Option<NaiveDate> {
        let day = self.local(instant).date();
        (self.midnight(day) == instant).then_some(day)
    }

    /// Returns the first instant whose wall clock is past `local`, which the clock never shows.
    fn after_gap(self, local: NaiveDateTime) -> DateTime<Utc> {
        let middle = local.and_utc();
        for stretch in self.stretches(middle - REACH, middle + REACH) {
            let at = stretch.start.max(middle - stretch.offset);
            if at < stretch.end {
                return at;
            }
        }
        middle
    }

    fn offset(self, at: DateTime<Utc>) -> TimeDelta {
        let seconds = self.0.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc();
        TimeDelta::seconds(i64::from(seconds))
    }

    /// Cuts a range where the zone's clock changes. The stretches are in order and without gaps.
    pub(crate) fn stretches(self, start: DateTime<Utc>, end: DateTime<Utc>) -> Vec<Stretch> {
        let mut stretches = Vec::new();
        let (mut begun, mut at) = (start, start);
        let mut offset = self.offset(start);
        while at < end {
            let next = (at + STEP).min(end);
            if self.offset(next) != offset {
                let change = self.change_between(at, next, offset);
                stretches.push(Stretch { start: begun, end: change, offset });
                (begun, at) = (change, change);
                offset = self.offset(change);
            } else {
                at = next;
            }
        }
        if begun < end {
            stretches.push(Stretch { start: begun, end, offset });
        }
        stretches
    }

    /// Returns the first second at which the offset is another than before. It is so at `end` and
    /// not at `start`.
    fn change_between(self, start: DateTime<Utc>, end: DateTime<Utc>, before: TimeDelta) -> DateTime<Utc> {
        // Changes are at whole seconds: the greatest second with the offset before, and the next.
        let (mut low, mut high) = (start.timestamp(), end.timestamp());
        if DateTime::from_timestamp(high, 0).is_some_and(|time| self.offset(time) == before) {
            high += 1;
        }
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            let Some(time) = DateTime::from_timestamp(middle, 0) else { break };
            if self.offset(time) == before { low = middle } else { high = middle }
        }
        DateTime::from_timestamp(high, 0).unwrap_or(end)
    }
}

/// Returns `time` as chrono has it. Times that chrono lacks are far outside of the years of events.
pub(crate) fn utc(time: Micros) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(time.0).unwrap_or_default()
}

/// Returns the microseconds since the Unix epoch.
pub(crate) fn micros(time: DateTime<Utc>) -> Micros {
    Micros(time.timestamp_micros())
}

/// Returns the first day of the month `months` later, or `None` outside of chrono's years.
pub(crate) fn month_after(day: NaiveDate, months: i32) -> Option<NaiveDate> {
    let month = day.year() * 12 + day.month0() as i32 + months;
    NaiveDate::from_ymd_opt(month.div_euclid(12), month.rem_euclid(12) as u32 + 1, 1)
}

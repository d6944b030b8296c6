//! Ranges of time, as users write them, and the ranges that they are compared with.

use std::str::FromStr;

use chrono::{DateTime, Datelike as _, Days, NaiveDate, NaiveDateTime};
use turnmill_model::Micros;

use crate::bucket::Bucket;
use crate::zone::{Zone, micros, month_after};

/// A range of time from `from` to before `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First instant of the range.
    pub from: Micros,
    /// First instant past the range.
    pub to: Micros,
}

/// A range of time that may be open at either end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// First instant, `None` for the start of the store.
    pub from: Option<Micros>,
    /// First instant past the range, `None` for the end of the store.
    pub to: Option<Micros>,
}

/// The times of a store's first and newest event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Time of the first event.
    pub first: Micros,
    /// Time of the newest event.
    pub newest: Micros,
}

/// An end of a range that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTime {
    /// No time.
    #[error("`{text}` is no time: write 2026-11-21, 2026-11-21 13:45 or 2026-11-21T13:45:00Z")]
    Time {
        /// The text.
        text: String,
    },
    /// No length of a range.
    #[error("`{text}` is no length: write a number with h, d, w or m, for example 28d")]
    Length {
        /// The text.
        text: String,
    },
}

/// Reads the end of a range. A date is local midnight in `zone`. A time without an offset is the
/// local wall clock.
///
/// # Errors
///
/// A text that is neither.
///
/// ```
/// use turnmill_analytics::{Zone, parse_time};
/// let zone: Zone = "Europe/Berlin".parse()?;
/// assert_eq!(parse_time("2026-07-01", zone)?.to_string(), "2026-06-30 22:00:00.000000");
/// assert_eq!(parse_time("2026-07-01 12:00:00Z", zone)?.to_string(), "2026-07-01 12:00:00.000000");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn parse_time(text: &str, zone: Zone) -> Result<Micros, BadTime> {
    let text = text.trim();
    if let Ok(day) = NaiveDate::from_str(text) {
        return Ok(zone.midnight(day));
    }
    let normal = text.replacen(' ', "T", 1);
    if let Ok(time) = DateTime::parse_from_rfc3339(&normal) {
        return Ok(micros(time.to_utc()));
    }
    let local = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"]
        .into_iter()
        .find_map(|form| NaiveDateTime::parse_from_str(&normal, form).ok());
    local.map(|local| zone.instant(local)).ok_or_else(|| BadTime::Time { text: text.to_owned() })
}

/// The last hours, days, weeks or months of a store.
///
/// ```
/// use turnmill_analytics::{Last, Zone};
/// use turnmill_model::Micros;
/// let newest = Micros::parse("2026-11-22 01:46:23.268698").unwrap();
/// let span = "28d".parse::<Last>()?.span(newest, Zone::default());
/// assert_eq!(span.from.unwrap().to_string(), "2026-10-26 00:00:00.000000");
/// assert_eq!(span.to.unwrap().to_string(), "2026-11-23 00:00:00.000000");
/// # Ok::<(), turnmill_analytics::BadTime>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Last {
    /// How many.
    pub count: u32,
    /// Of what: [`Bucket::Hour`], [`Bucket::Day`], [`Bucket::Week`] or [`Bucket::Month`].
    pub unit: Bucket,
}

impl FromStr for Last {
    type Err = BadTime;

    fn from_str(text: &str) -> Result<Self, BadTime> {
        let bad = || BadTime::Length { text: text.to_owned() };
        let units = [('h', Bucket::Hour), ('d', Bucket::Day), ('w', Bucket::Week), ('m', Bucket::Month)];
        let (letter, unit) = units.into_iter().find(|(letter, _)| text.ends_with(*letter)).ok_or_else(bad)?;
        let count = text.trim_end_matches(letter).parse().map_err(|_| bad())?;
        if (1..=100_000).contains(&count) { Ok(Self { count, unit }) } else { Err(bad()) }
    }
}

impl Last {
    /// Returns the range that ends with the local hour, day, week or month of the newest event.
    #[must_use]
    pub fn span(self, newest: Micros, zone: Zone) -> Span {
        let to = self.unit.end_after(newest, zone);
        let day = zone.local(to).date();
        let earlier = |days: u64| day.checked_sub_days(Days::new(days)).unwrap_or(day);
        let count = u64::from(self.count);
        let from = match self.unit {
            Bucket::Week => zone.midnight(earlier(count * 7)),
            Bucket::Month => {
                let months = i32::try_from(self.count).unwrap_or(i32::MAX);
                zone.midnight(month_after(day, -months).unwrap_or(day))
            }
            Bucket::Hour => {
                // Hours of the local clock: where its distance from UTC changes by half an hour,
                // one of them is longer.
                let mut from = to;
                for _ in 0..self.count {
                    from = Bucket::Hour.start_of(Micros(from.0 - 1), zone);
                }
                from
            }
            _ => zone.midnight(earlier(count)),
        };
        Span { from: Some(from), to: Some(to) }
    }
}

/// The period that a range is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// The range of equal length that ends where the range begins.
    Previous,
    /// Both ends a week earlier.
    Week,
    /// Both ends a month earlier. A day that the month lacks is its last.
    Month,
    /// Both ends a year earlier. A day that the month lacks is its last.
    Year,
}

/// A name that is no comparison.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is no comparison: use prev, week, month or year")]
pub struct UnknownComparison {
    /// The name.
    pub name: String,
}

impl FromStr for Compare {
    type Err = UnknownComparison;

    fn from_str(name: &str) -> Result<Self, UnknownComparison> {
        match name {
            "prev" => Ok(Self::Previous),
            "week" => Ok(Self::Week),
            "month" => Ok(Self::Month),
            "year" => Ok(Self::Year),
            _ => Err(UnknownComparison { name: name.to_owned() }),
        }
    }
}

impl Compare {
    /// Returns its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Previous => "prev",
            Self::Week => "week",
            Self::Month => "month",
            Self::Year => "year",
        }
    }

    /// Returns the range to compare `span` with, or `None` if the span is open.
    ///
    /// ```
    /// use turnmill_analytics::{Compare, Span, Zone, parse_time};
    /// let zone = Zone::default();
    /// let span = Span {
    ///     from: Some(parse_time("2026-03-30", zone)?),
    ///     to: Some(parse_time("2026-03-31", zone)?),
    /// };
    /// let month = Compare::Month.range(span, zone).unwrap();
    /// assert_eq!(month.from.to_string(), "2026-02-28 00:00:00.000000");
    /// # Ok::<(), turnmill_analytics::BadTime>(())
    /// ```
    #[must_use]
    pub fn range(self, span: Span, zone: Zone) -> Option<Range> {
        let (from, to) = (span.from?, span.to?);
        let days = (zone.day_that_begins(from), zone.day_that_begins(to));
        if self == Self::Previous {
            let earlier = match days {
                (Some(first), Some(end)) => {
                    let length = u64::try_from((end - first).num_days()).unwrap_or(0);
                    zone.midnight(first.checked_sub_days(Days::new(length))?)
                }
                _ => Micros(from.0 - (to.0 - from.0)),
            };
            return Some(Range { from: earlier, to: from });
        }
        let shifted = |instant, day: Option<NaiveDate>| match day {
            Some(day) => Some(zone.midnight(self.earlier(day)?)),
            None => {
                let local = zone.local(instant);
                Some(zone.instant(self.earlier(local.date())?.and_time(local.time())))
            }
        };
        Some(Range { from: shifted(from, days.0)?, to: shifted(to, days.1)? })
    }

    fn earlier(self, day: NaiveDate) -> Option<NaiveDate> {
        let months = match self {
            Self::Previous => return Some(day),
            Self::Week => return day.checked_sub_days(Days::new(7)),
            Self::Month => 1,
            Self::Year => 12,
        };
        let first = month_after(day, -months)?;
        let last = month_after(first, 1)?.checked_sub_days(Days::new(1))?;
        first.with_day(day.day().min(last.day()))
    }
}

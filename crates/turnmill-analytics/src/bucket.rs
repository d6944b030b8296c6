//! Buckets of time as lists of UTC boundaries.

use std::fmt;
use std::str::FromStr;

use chrono::{Datelike as _, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike as _};
use turnmill_model::Micros;

use crate::range::{Extent, Range, Span};
use crate::zone::{Zone, micros, month_after, utc};

/// Most buckets that a series has if none is asked for.
pub const FINEST: usize = 120;
/// Most buckets of one list.
pub const MOST: usize = 100_000;

/// Width of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bucket {
    /// A minute by the clock.
    Minute,
    /// Five minutes by the clock.
    FiveMinutes,
    /// From one full hour of the local clock to the next: 25 on a day of 25 hours.
    Hour,
    /// Two hours of the wall clock, from 00, 02 and so on.
    TwoHours,
    /// Six hours of the wall clock, from 00, 06, 12 and 18.
    SixHours,
    /// A local day.
    Day,
    /// A local week from Monday.
    Week,
    /// A local month.
    Month,
}

/// A name that is no bucket.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is no bucket: use 1min, 5min, 1h, 2h, 6h, day, week or month")]
pub struct UnknownBucket {
    /// The name.
    pub name: String,
}

/// More buckets than a list may have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the range has more than {MOST} buckets of {bucket}: ask for a wider bucket or a shorter range")]
pub struct TooManyBuckets {
    /// The width.
    pub bucket: Bucket,
}

impl Bucket {
    /// All widths, the finest first.
    pub const ALL: [Self; 8] = [
        Self::Minute,
        Self::FiveMinutes,
        Self::Hour,
        Self::TwoHours,
        Self::SixHours,
        Self::Day,
        Self::Week,
        Self::Month,
    ];

    /// Returns its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Minute => "1min",
            Self::FiveMinutes => "5min",
            Self::Hour => "1h",
            Self::TwoHours => "2h",
            Self::SixHours => "6h",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    /// Returns the finest width of at most [`FINEST`] buckets, from the later of the range's start
    /// and the store's first event to the earlier of its end and the newest event.
    #[must_use]
    pub fn finest(span: Span, extent: Extent, zone: Zone) -> Self {
        let from = span.from.map_or(extent.first, |from| from.max(extent.first));
        let to = match span.to {
            Some(to) if to <= extent.newest => to,
            _ => Micros(extent.newest.0 + 1),
        };
        let few = |bucket: &Self| bucket.starts(from, to, zone, FINEST + 1).is_ok();
        Self::ALL.into_iter().find(few).unwrap_or(Self::Month)
    }

    /// Returns the buckets of a span, in order and without gaps.
    ///
    /// They begin with the bucket that holds the span's start and end with the one that holds its
    /// end, these two cut to the span. Where the span is open they begin with the whole bucket of
    /// the first event and end with the whole bucket of the newest.
    ///
    /// # Errors
    ///
    /// More than [`MOST`] buckets.
    ///
    /// ```
    /// use turnmill_analytics::{Bucket, Extent, Span, Zone};
    /// use turnmill_model::Micros;
    /// let zone: Zone = "America/New_York".parse()?;
    /// let at = |text| Micros::parse(text).unwrap();
    /// let extent = Extent {
    ///     first: at("2026-10-31 12:00:00.000000"),
    ///     newest: at("2026-11-02 12:00:00.000000"),
    /// };
    /// let days = Bucket::Day.list(Span::default(), extent, zone)?;
    /// let hours: Vec<i64> =
    ///     days.iter().map(|day| (day.to.0 - day.from.0) / 3_600_000_000).collect();
    /// assert_eq!(hours, [24, 25, 24], "summer time ends on the first of November");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn list(self, span: Span, extent: Extent, zone: Zone) -> Result<Vec<Range>, TooManyBuckets> {
        let from = span.from.unwrap_or(extent.first);
        let to = span.to.unwrap_or(Micros(extent.newest.0 + 1));
        let mut starts =
            self.starts(from, to, zone, MOST + 1).map_err(|()| TooManyBuckets { bucket: self })?;
        let (Some(first), Some(end)) = (starts.first_mut(), self.end_of(from, to, zone)) else {
            return Ok(Vec::new());
        };
        *first = span.from.unwrap_or(*first);
        let end = span.to.unwrap_or(end);
        let ends = starts.iter().copied().skip(1).chain([end]);
        Ok(starts.iter().copied().zip(ends).map(|(from, to)| Range { from, to }).collect())
    }

    /// Returns the start of the bucket that holds `instant`.
    #[must_use]
    pub fn start_of(self, instant: Micros, zone: Zone) -> Micros {
        self.starts(instant, Micros(instant.0 + 1), zone, 2)
            .ok()
            .and_then(|starts| starts.first().copied())
            .unwrap_or(instant)
    }

    /// Returns the end of the bucket that holds `instant`.
    #[must_use]
    pub fn end_after(self, instant: Micros, zone: Zone) -> Micros {
        self.end_of(instant, Micros(instant.0 + 1), zone).unwrap_or(instant)
    }

    /// Returns the end of the bucket that holds the last instant before `to`.
    fn end_of(self, from: Micros, to: Micros, zone: Zone) -> Option<Micros> {
        if to <= from {
            return None;
        }
        let last = to.0 - 1;
        let later = micros(utc(to) + self.reach());
        self.boundaries(Micros(last), later, zone).into_iter().find(|boundary| boundary.0 > last)
    }

    /// Returns the starts of the buckets that hold an instant from `from` to before `to`.
    /// Errs if there are `limit` of them or more.
    fn starts(self, from: Micros, to: Micros, zone: Zone, limit: usize) -> Result<Vec<Micros>, ()> {
        if to <= from {
            return Ok(Vec::new());
        }
        // Refuse years of minutes before listing them.
        if (to.0 - from.0) / self.longest() > i64::try_from(limit).unwrap_or(i64::MAX) {
            return Err(());
        }
        let boundaries = self.boundaries(micros(utc(from) - self.reach()), to, zone);
        let before = boundaries.iter().rposition(|boundary| *boundary <= from).unwrap_or(0);
        let starts: Vec<Micros> = boundaries
            .get(before..)
            .unwrap_or_default()
            .iter()
            .copied()
            .filter(|start| *start < to)
            .collect();
        if starts.len() >= limit { Err(()) } else { Ok(starts) }
    }

    /// Returns a distance within which there is a boundary of any zone.
    fn reach(self) -> TimeDelta {
        match self {
            Self::Minute | Self::FiveMinutes | Self::Hour => TimeDelta::hours(3),
            Self::TwoHours | Self::SixHours => TimeDelta::days(2),
            Self::Day | Self::Week => TimeDelta::days(10),
            Self::Month => TimeDelta::days(34),
        }
    }

    /// Returns a width that no bucket is longer than, in microseconds.
    fn longest(self) -> i64 {
        let minutes = match self {
            Self::Minute => 2,
            Self::FiveMinutes => 10,
            Self::Hour => 120,
            Self::TwoHours => 240,
            Self::SixHours => 480,
            Self::Day => 3000,
            Self::Week => 14_000,
            Self::Month => 47_000,
        };
        minutes * 60_000_000
    }

    /// Returns all boundaries from one at or before `from` to the last before or at `to`.
    fn boundaries(self, from: Micros, to: Micros, zone: Zone) -> Vec<Micros> {
        let mut boundaries = match self {
            Self::Minute => by_the_clock(from, to, zone, 60),
            Self::FiveMinutes => by_the_clock(from, to, zone, 300),
            Self::Hour => by_the_clock(from, to, zone, 3600),
            Self::TwoHours => by_the_wall(from, to, zone, 2),
            Self::SixHours => by_the_wall(from, to, zone, 6),
            Self::Day => by_the_calendar(from, to, zone, |day| day, |day| day.checked_add_days(Days::new(1))),
            Self::Week => {
                let monday = |day: NaiveDate| {
                    let past = u64::from(day.weekday().num_days_from_monday());
                    day.checked_sub_days(Days::new(past)).unwrap_or(day)
                };
                by_the_calendar(from, to, zone, monday, |day| day.checked_add_days(Days::new(7)))
            }
            Self::Month => {
                let first = |day: NaiveDate| day.with_day(1).unwrap_or(day);
                by_the_calendar(from, to, zone, first, |day| month_after(day, 1))
            }
        };
        // A day that a country skipped begins when the next one does.
        boundaries.dedup();
        boundaries
    }
}

/// Returns the instants at which the local clock shows a multiple of `step` seconds.
fn by_the_clock(from: Micros, to: Micros, zone: Zone, step: i64) -> Vec<Micros> {
    let step = step * 1_000_000;
    let mut instants = Vec::new();
    for stretch in zone.stretches(utc(from), utc(to) + TimeDelta::seconds(1)) {
        let offset = stretch.offset.num_seconds() * 1_000_000;
        let first = micros(stretch.start).0 + offset;
        let mut local = first + (step - first.rem_euclid(step)) % step;
        while local - offset < micros(stretch.end).0 {
            instants.push(Micros(local - offset));
            local += step;
        }
    }
    instants
}

/// Returns the instants at which blocks of `hours` hours of the wall clock begin.
fn by_the_wall(from: Micros, to: Micros, zone: Zone, hours: u32) -> Vec<Micros> {
    let first = zone.local(from).date().checked_sub_days(Days::new(2));
    let last = zone.local(to).date().checked_add_days(Days::new(1));
    let (Some(mut day), Some(last)) = (first, last) else { return Vec::new() };
    let mut instants = Vec::new();
    while day <= last {
        for block in 0..24 / hours {
            let time = NaiveTime::from_hms_opt(block * hours, 0, 0).unwrap_or_default();
            instants.push(zone.instant(NaiveDateTime::new(day, time)));
        }
        let Some(next) = day.checked_add_days(Days::new(1)) else { break };
        day = next;
    }
    instants
}

/// Returns the first instants of days: from that of `start` on, each the one that `next` gives.
fn by_the_calendar(
    from: Micros,
    to: Micros,
    zone: Zone,
    start: impl Fn(NaiveDate) -> NaiveDate,
    next: impl Fn(NaiveDate) -> Option<NaiveDate>,
) -> Vec<Micros> {
    let first = zone.local(from).date();
    let mut day = start(first.checked_sub_days(Days::new(2)).unwrap_or(first));
    let mut instants = Vec::new();
    loop {
        let instant = zone.midnight(day);
        instants.push(instant);
        if instant > to {
            return instants;
        }
        let Some(later) = next(day) else { return instants };
        day = later;
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Bucket {
    type Err = UnknownBucket;

    fn from_str(name: &str) -> Result<Self, UnknownBucket> {
        let known = Self::ALL.into_iter().find(|bucket| bucket.name() == name);
        known.ok_or_else(|| UnknownBucket { name: name.to_owned() })
    }
}

/// A weekday and a block of two hours of the local clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayBlock {
    /// Day of the week, 0 for Sunday.
    pub weekday: u32,
    /// Hour of the day, 0 to 23.
    pub hour: u32,
}

impl DayBlock {
    /// Returns the weekday and the hour that the wall clock of `zone` shows at `instant`.
    #[must_use]
    pub fn of(instant: Micros, zone: Zone) -> Self {
        let local = zone.local(instant);
        Self { weekday: local.weekday().num_days_from_sunday(), hour: local.hour() }
    }
}

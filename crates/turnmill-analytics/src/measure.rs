//! The numbers of an answer, with what they are made of.

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use crate::statistics::{SMALLEST_SAMPLE, SMALLEST_SHARE, Share, difference_interval};

/// A number of an answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Measure {
    /// How many.
    Count(i64),
    /// `n` of `d`, in percent.
    Share(Share),
    /// `n` per `d`.
    Ratio(Share),
    /// A mean of `count` values.
    Mean {
        /// The mean, `None` of no values.
        value: Option<f64>,
        /// Number of values.
        count: i64,
    },
    /// A percentile of `count` values.
    Percentile {
        /// The percentile, `None` of no values.
        value: Option<f64>,
        /// Number of values.
        count: i64,
    },
    /// Another number, for example a distance.
    Number(Option<f64>),
}

impl Measure {
    /// Makes a share in percent.
    #[must_use]
    pub fn share(n: i64, d: i64) -> Self {
        Self::Share(Share { n, d })
    }

    /// Makes a ratio.
    #[must_use]
    pub fn ratio(n: i64, d: i64) -> Self {
        Self::Ratio(Share { n, d })
    }

    /// Makes the mean of `count` values with this sum.
    #[must_use]
    pub fn mean(sum: f64, count: i64) -> Self {
        Self::Mean { value: (count != 0).then(|| sum / count as f64), count }
    }

    /// Returns the number. `None` where there is nothing to divide by.
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        match self {
            Self::Count(count) => Some(*count as f64),
            Self::Share(share) => share.percent(),
            Self::Ratio(share) => (share.d != 0).then(|| share.n as f64 / share.d as f64),
            Self::Mean { value, .. } | Self::Percentile { value, .. } | Self::Number(value) => *value,
        }
    }

    /// Returns whether it is made of so little that counts say more: a share of fewer than 10, a
    /// percentile of fewer than 8 values.
    #[must_use]
    pub fn is_small(&self) -> bool {
        match self {
            Self::Share(share) => share.d < SMALLEST_SHARE,
            Self::Percentile { count, .. } => *count < SMALLEST_SAMPLE,
            Self::Count(_) | Self::Ratio(_) | Self::Mean { .. } | Self::Number(_) => false,
        }
    }

    /// Returns the change from `was`.
    #[must_use]
    pub fn change_from(&self, was: &Self) -> Change {
        if let (Self::Share(now), Self::Share(was)) = (self, was) {
            let points = now.percent().zip(was.percent()).map(|(now, was)| now - was);
            return Change { value: points, interval: difference_interval(*was, *now) };
        }
        let percent = self
            .value()
            .zip(was.value())
            .and_then(|(now, was)| (was != 0.0).then(|| 100.0 * (now - was) / was));
        Change { value: percent, interval: None }
    }
}

/// A change of a number from one period to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// Percentage points of a share, percent of anything else. `None` from nothing.
    pub value: Option<f64>,
    /// The 95 % interval of a difference of shares, in points.
    pub interval: Option<(f64, f64)>,
}

impl Serialize for Measure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.entries(&mut map)?;
        map.end()
    }
}

impl Measure {
    /// Writes `value`, then `n` and `d` of a share or a ratio, `n` of a mean or a percentile, and
    /// `small` where it is.
    pub(crate) fn entries<M: serde::ser::SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        match self {
            Self::Count(count) => map.serialize_entry("value", count)?,
            _ => map.serialize_entry("value", &self.value())?,
        }
        match self {
            Self::Share(Share { n, d }) | Self::Ratio(Share { n, d }) => {
                map.serialize_entry("n", n)?;
                map.serialize_entry("d", d)?;
            }
            Self::Mean { count, .. } | Self::Percentile { count, .. } => map.serialize_entry("n", count)?,
            Self::Count(_) | Self::Number(_) => {}
        }
        if self.is_small() {
            map.serialize_entry("small", &true)?;
        }
        Ok(())
    }
}

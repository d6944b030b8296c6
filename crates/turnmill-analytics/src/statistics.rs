//! Statistics of small samples: percentiles, intervals of differences, many comparisons.
//!
//! No maintained crate has Newcombe's interval. The Benjamini-Hochberg procedure is a dozen lines.
//! Both are here, tested against published values.

/// Denominator from which a share is shown as a percentage.
pub const SMALLEST_SHARE: i64 = 10;
/// Number of values from which a percentile is shown.
pub const SMALLEST_SAMPLE: i64 = 8;
/// The 97.5 % point of the normal distribution, for intervals of 95 %.
const Z: f64 = 1.959_963_984_540_054;
/// Share of false discoveries that a list of changes allows.
pub const FALSE_DISCOVERIES: f64 = 0.1;

/// `n` of `d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Numerator.
    pub n: i64,
    /// Denominator.
    pub d: i64,
}

impl Share {
    /// Returns the percentage, or `None` of nothing.
    #[must_use]
    pub fn percent(self) -> Option<f64> {
        (self.d != 0).then(|| 100.0 * self.n as f64 / self.d as f64)
    }

    /// Returns Wilson's interval of the proportion, without correction, as fractions.
    fn wilson(self) -> (f64, f64) {
        let (n, p) = (self.d as f64, self.n as f64 / self.d as f64);
        let middle = 2.0 * n * p + Z * Z;
        let half = Z * (Z * Z + 4.0 * n * p * (1.0 - p)).sqrt();
        let scale = 2.0 * (n + Z * Z);
        ((middle - half) / scale, (middle + half) / scale)
    }
}

/// Returns Newcombe's 95 % interval of `now` minus `was` in percentage points: method 10, from
/// Wilson's intervals without correction. `None` where a denominator is 0.
///
/// ```
/// use turnmill_analytics::statistics::{Share, difference_interval};
/// // Newcombe 1998, table II, contrast (a): 56/70 against 48/80.
/// let (low, high) = difference_interval(Share { n: 48, d: 80 }, Share { n: 56, d: 70 }).unwrap();
/// assert!((low - 5.24).abs() < 0.005 && (high - 33.39).abs() < 0.005);
/// ```
#[must_use]
pub fn difference_interval(was: Share, now: Share) -> Option<(f64, f64)> {
    let (p_now, p_was) = (now.percent()? / 100.0, was.percent()? / 100.0);
    let ((now_low, now_high), (was_low, was_high)) = (now.wilson(), was.wilson());
    let difference = p_now - p_was;
    let below = (p_now - now_low).hypot(was_high - p_was);
    let above = (now_high - p_now).hypot(p_was - was_low);
    Some((100.0 * (difference - below), 100.0 * (difference + above)))
}

/// Returns the two-sided p of the z-test of two proportions with a pooled variance. `None` where a
/// denominator is 0. It is 1 where both shares are all or nothing.
#[must_use]
pub fn pooled_p(was: Share, now: Share) -> Option<f64> {
    let (p_now, p_was) = (now.percent()? / 100.0, was.percent()? / 100.0);
    let pooled = (now.n + was.n) as f64 / (now.d + was.d) as f64;
    let variance = pooled * (1.0 - pooled) * (1.0 / now.d as f64 + 1.0 / was.d as f64);
    if variance <= 0.0 {
        return Some(1.0);
    }
    let z = (p_now - p_was) / variance.sqrt();
    Some(libm::erfc(z.abs() / std::f64::consts::SQRT_2))
}

/// Marks the p-values that the procedure of Benjamini and Hochberg rejects at `rate` false
/// discoveries: all up to the greatest whose rank r of m has `p <= rate * r / m`.
#[must_use]
pub fn benjamini_hochberg(values: &[f64], rate: f64) -> Vec<bool> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let count = values.len() as f64;
    let passes = |(rank, p): &(usize, &f64)| **p <= rate * (*rank + 1) as f64 / count;
    let limit = sorted.iter().enumerate().filter(passes).map(|(_, p)| *p).next_back();
    values.iter().map(|p| limit.is_some_and(|limit| *p <= limit)).collect()
}

/// Returns the percentile of values in ascending order: interpolated between the ranks, which count
/// from 0, at `p * (n - 1)`. So PostgreSQL's `percentile_cont` does.
///
/// ```
/// use turnmill_analytics::statistics::percentile;
/// assert_eq!(percentile(&[1.0, 2.0, 4.0], 0.75), Some(3.0));
/// assert_eq!(percentile(&[], 0.5), None);
/// ```
#[must_use]
pub fn percentile(ascending: &[f64], p: f64) -> Option<f64> {
    let rank = p * (ascending.len().checked_sub(1)?) as f64;
    let low = rank.floor();
    let below = *ascending.get(low as usize)?;
    let above = *ascending.get(rank.ceil() as usize)?;
    Some(below + (above - below) * (rank - low))
}

/// Returns the distance of Jensen and Shannon of two distributions over the same groups: the root
/// of the divergence with logarithms of base 2, from 0 to 1. `None` where one is empty.
#[must_use]
pub fn jensen_shannon(one: &[i64], other: &[i64]) -> Option<f64> {
    let (sum_one, sum_other) = (one.iter().sum::<i64>() as f64, other.iter().sum::<i64>() as f64);
    if sum_one <= 0.0 || sum_other <= 0.0 {
        return None;
    }
    let part = |p: f64, m: f64| if p > 0.0 { p * (p / m).log2() } else { 0.0 };
    let divergence: f64 = one
        .iter()
        .zip(other)
        .map(|(one, other)| {
            let (p, q) = (*one as f64 / sum_one, *other as f64 / sum_other);
            let m = f64::midpoint(p, q);
            f64::midpoint(part(p, m), part(q, m))
        })
        .sum();
    Some(divergence.clamp(0.0, 1.0).sqrt())
}

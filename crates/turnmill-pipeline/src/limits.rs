//! When there are too many dead letters to go on.

use std::collections::VecDeque;

/// How many dead letters are too many. When a producer begins to send something else altogether, it is better to stop than
/// to drain a topic into the dead letters.
///
/// Only records that cannot be decoded count; a store that refuses rows is heard of by its own errors.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DeadLetterLimits {
    /// Most dead letters in a row.
    pub run: Option<u64>,
    /// Greatest share, from 0 to 1, of the last records.
    pub share: Option<Share>,
}

/// A share of the last records.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// From 0 to 1.
    pub most: f64,
    /// Of how many records; nothing is said before there were as many.
    pub of: u64,
}

/// More dead letters than [`DeadLetterLimits`] allows.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TooManyDeadLetters {
    /// In a row.
    #[error("{found} records in a row cannot be decoded, and at most {most} may become dead letters")]
    Run {
        /// How many there are.
        found: u64,
        /// The limit.
        most: u64,
    },
    /// Of the last records.
    #[error(
        "{found} of the last {of} records cannot be decoded, and at most a share of {most} may become dead letters"
    )]
    Share {
        /// How many there are.
        found: u64,
        /// Of how many.
        of: u64,
        /// The limit.
        most: f64,
    },
}

/// What is known of the last records.
#[derive(Clone, Debug, Default)]
pub(crate) struct RecentRefusals {
    /// Length of the run of dead letters that the last record ends.
    run: u64,
    /// The longest run that the last batch had a part in.
    longest: u64,
    /// Records and dead letters of the last batches, oldest first.
    batches: VecDeque<(u64, u64)>,
}

/// Batches to remember, whatever a share is of.
const MOST_BATCHES: usize = 4096;

impl RecentRefusals {
    /// The same after a batch of `records` records, of which those numbered `refused` (ascending) are dead letters.
    pub(crate) fn with(&self, records: usize, refused: impl Iterator<Item = usize>) -> Self {
        let mut next = Self { run: self.run, longest: 0, batches: self.batches.clone() };
        let (mut dead, mut expected) = (0, 0);
        for record in refused {
            next.run = if record == expected { next.run + 1 } else { 1 };
            next.longest = next.longest.max(next.run);
            expected = record + 1;
            dead += 1;
        }
        if expected < records {
            next.run = 0;
        }
        next.batches.push_back((records as u64, dead));
        if next.batches.len() > MOST_BATCHES {
            next.batches.pop_front();
        }
        next
    }
}

impl DeadLetterLimits {
    pub(crate) fn check(&self, seen: &RecentRefusals) -> Result<(), TooManyDeadLetters> {
        if let Some(most) = self.run
            && seen.longest > most
        {
            return Err(TooManyDeadLetters::Run { found: seen.longest, most });
        }
        let Some(Share { most, of }) = self.share else { return Ok(()) };
        let (mut records, mut found) = (0, 0);
        for (count, dead) in seen.batches.iter().rev() {
            records += count;
            found += dead;
            if records >= of {
                break;
            }
        }
        if records >= of && found as f64 > most * records as f64 {
            return Err(TooManyDeadLetters::Share { found, of: records, most });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_go_on_over_batches_and_end_with_a_good_record() {
        let limits = DeadLetterLimits { run: Some(3), share: None };
        let seen = RecentRefusals::default().with(4, [2, 3].into_iter());
        assert_eq!(limits.check(&seen), Ok(()));
        let more = seen.with(2, [0, 1].into_iter());
        assert_eq!(limits.check(&more), Err(TooManyDeadLetters::Run { found: 4, most: 3 }));
        let ended = seen.with(2, [0].into_iter()).with(3, [0, 1, 2].into_iter());
        assert_eq!(limits.check(&ended), Ok(()));
    }

    #[test]
    fn a_share_is_of_the_last_records_only() {
        let limits = DeadLetterLimits { run: None, share: Some(Share { most: 0.5, of: 10 }) };
        let few = RecentRefusals::default().with(4, 0..4);
        assert_eq!(limits.check(&few), Ok(()), "too few to say");
        let seen = few.with(6, 0..2);
        assert!(matches!(limits.check(&seen), Err(TooManyDeadLetters::Share { found: 6, of: 10, .. })));
        let seen = seen.with(10, 0..5);
        assert_eq!(limits.check(&seen), Ok(()));
    }
}

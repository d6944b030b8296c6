//! Tells a lost race from a store that contradicts itself.

use turnmill_sink::StoreError;

/// Fences in a row after which only a contradiction in the store explains them.
const MOST: u32 = 50;

/// Counts fences since the last commit.
///
/// Two writers on one partition fence each other for as long as both run. Each fence means that the
/// other one has committed, so the stored position differs from fence to fence. If fences repeat
/// with one position, or without any, the rows of the store may contradict each other. Loading the
/// batch again would then never end.
///
/// ```text
/// fenced at 10, 20, 30, ...   a rival that makes progress: start again each time
/// fenced at 10, 10, 10, ...   no progress of any writer: damage after 50 times
/// ```
#[derive(Clone, Debug, Default)]
pub(crate) struct Fences {
    count: u32,
    stored: Option<String>,
}

impl Fences {
    /// Counts a fence, and returns whether there were too many without progress of any writer.
    pub(crate) fn is_contradiction(&mut self, error: &StoreError) -> bool {
        if let StoreError::PositionMoved { key, stored, .. } = error {
            let stored = format!("{key} {}", stored.as_deref().unwrap_or_default());
            if self.stored.as_ref() != Some(&stored) {
                *self = Self { count: 0, stored: Some(stored) };
            }
        }
        self.count += 1;
        self.count > MOST
    }
}

/// Returns the error that reports the contradiction.
pub(crate) fn contradiction(error: &StoreError) -> StoreError {
    let detail = format!("{error}, {MOST} times in a row without a commit");
    StoreError::Damaged { detail }
}

#[cfg(test)]
mod tests {

    use super::*;
    use turnmill_model::PartitionId;

    fn moved(stored: u32) -> StoreError {
        let key = PartitionId { source: "cluster".into(), partition: "rasa/0".into() };
        StoreError::PositionMoved { key, stored: Some(stored.to_string()), expected: Some("1".into()) }
    }

    #[test]
    fn a_rival_that_makes_progress_is_never_a_contradiction() {
        let mut fences = Fences::default();
        assert!((2..1000).all(|stored| !fences.is_contradiction(&moved(stored))));
    }

    #[test]
    fn a_position_that_stays_is_one_after_fifty() {
        let mut fences = Fences::default();
        let first = (1..1000).find(|_| fences.is_contradiction(&moved(7)));
        assert_eq!(first, Some(51));
    }

    #[test]
    fn a_sender_that_is_gone_is_one_after_fifty() {
        let mut fences = Fences::default();
        let gone = StoreError::Fenced { detail: "sender 7 is gone".into() };
        assert_eq!((1..1000).find(|_| fences.is_contradiction(&gone)), Some(51));
    }
}

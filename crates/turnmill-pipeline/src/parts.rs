//! A batch in parts, after the store has ended a statement of the whole because it took too long.

use std::ops::Range;

use turnmill_ingest::Report;

/// Which records of a batch to write next.
#[derive(Debug)]
pub(crate) struct BatchParts {
    records: usize,
    done: usize,
    size: usize,
    finished: bool,
}

impl BatchParts {
    /// All of so many records, at most `size` at a time. A batch without records is one part, for its positions.
    pub(crate) fn new(records: usize, size: usize) -> Self {
        Self { records, done: 0, size: size.max(1), finished: false }
    }

    /// The next part, the same until it is [done](Self::done).
    pub(crate) fn next(&self) -> Option<Range<usize>> {
        (!self.finished).then(|| self.done..self.done.saturating_add(self.size).min(self.records))
    }

    pub(crate) fn is_last(&self, part: &Range<usize>) -> bool {
        part.end >= self.records
    }

    pub(crate) fn done(&mut self, part: &Range<usize>) {
        self.done = part.end;
        self.finished = self.is_last(part);
    }

    /// Makes the parts smaller than this one, if that can be.
    pub(crate) fn halve(&mut self, part: &Range<usize>) -> bool {
        self.size = (part.len() / 2).max(1);
        part.len() > 1
    }

    /// The size for the next batch: a bit more, lest a slow moment is remembered for ever.
    pub(crate) fn next_size(&self) -> usize {
        if self.size >= self.records { usize::MAX } else { self.size.saturating_mul(2) }
    }
}

/// Adds what became of a part.
pub(crate) fn add(whole: &mut Option<Report>, part: Report) {
    match whole {
        None => *whole = Some(part),
        Some(whole) => {
            whole.counts += part.counts;
            whole.late += part.late;
            whole.replays += part.replays;
            whole.commit += part.commit;
            for (reason, letters) in part.dead_letters {
                *whole.dead_letters.entry(reason).or_default() += letters;
            }
            for rows in part.rows {
                match whole.rows.iter_mut().find(|known| known.table == rows.table) {
                    None => whole.rows.push(rows),
                    Some(known) => {
                        known.inserts += rows.inserts;
                        known.updates += rows.updates;
                        known.deletes += rows.deletes;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_the_batch_once_and_get_smaller() {
        let mut parts = BatchParts::new(10, usize::MAX);
        assert_eq!(parts.next(), Some(0..10));
        assert!(parts.halve(&(0..10)));
        assert!(parts.halve(&(0..5)));
        let mut seen = Vec::new();
        while let Some(part) = parts.next() {
            assert_eq!(parts.is_last(&part), part.end == 10);
            parts.done(&part);
            seen.push(part);
        }
        assert_eq!(seen, [0..2, 2..4, 4..6, 6..8, 8..10]);
        assert_eq!(parts.next_size(), 4);
        let mut one = BatchParts::new(1, 7);
        assert!(!one.halve(&one.next().unwrap()));
        let none = BatchParts::new(0, 7);
        assert!(none.is_last(&none.next().unwrap()));
    }
}

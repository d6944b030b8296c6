//! Writes the rows of a long replay in pieces, while the replay goes on.
//!
//! A late event may change very many rows: a message before the one that named a session renames
//! all of it. Held until the end, these rows would take memory in proportion to the session.
//!
//! Pieces are written before it is certain that the attempt succeeds. A replay may have to start
//! earlier, or a session may turn out to belong to another sender. Then the transaction is dropped,
//! and the next attempt writes no pieces.

use turnmill_engine::Replay;
use turnmill_sink::{StoreError, Transaction};

use crate::report::RowCounts;
use crate::setback::Setback;

/// Holds whether an attempt writes pieces, and what it has written.
#[derive(Debug)]
pub(crate) struct Pieces {
    allowed: bool,
    /// Number of pieces written.
    pub(crate) count: u64,
    /// Their rows, by table.
    pub(crate) rows: Vec<RowCounts>,
}

impl Pieces {
    pub(crate) fn new(allowed: bool) -> Self {
        Self { allowed, count: 0, rows: Vec::new() }
    }

    /// Writes the rows that `replay` has settled, if they are many.
    pub(crate) async fn write<T: Transaction>(
        &mut self,
        tx: &mut T,
        replay: &mut Replay<'_>,
    ) -> Result<(), StoreError> {
        if self.allowed
            && let Some(changes) = replay.take_final()
        {
            // Rare, so it does not enlarge the future of every replay.
            Box::pin(tx.write_rows(&changes)).await?;
            self.count += 1;
            RowCounts::add(&mut self.rows, &RowCounts::of(&changes));
        }
        Ok(())
    }

    /// Returns an error if a piece was written. Call it before anything is applied again.
    pub(crate) fn none_written(&self) -> Result<(), Setback> {
        if self.count == 0 { Ok(()) } else { Err(Setback::PiecesVoid) }
    }
}

//! Writes the rows of a long replay in pieces, while the replay goes on.
//!
//! A late event may change very many rows: a message before the one that named a session renames
//! all of it. Held until the end, these rows would take memory in proportion to the session.
//!
//! Pieces are written before it is certain that the attempt succeeds. A replay may have to start
//! earlier, or a session may turn out to belong to another sender. Then the transaction is dropped,
//! and the next attempt writes no pieces.

use std::collections::HashSet;

use turnmill_engine::Replay;
use turnmill_model::{Changes, SessionId};
use turnmill_sink::Transaction;

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
    /// The sessions that they began.
    pub(crate) begun: HashSet<SessionId>,
}

impl Pieces {
    pub(crate) fn new(allowed: bool) -> Self {
        Self { allowed, count: 0, rows: Vec::new(), begun: HashSet::new() }
    }

    /// Writes the rows that `replay` has settled, if they are many.
    pub(crate) async fn write<T: Transaction>(
        &mut self,
        tx: &mut T,
        replay: &mut Replay<'_>,
    ) -> Result<(), Setback> {
        if self.allowed
            && let Some(changes) = replay.take_final()
        {
            // Rare, so it does not enlarge the future of every replay.
            Box::pin(self.write_piece(tx, replay, changes)).await?;
        }
        Ok(())
    }

    async fn write_piece<T: Transaction>(
        &mut self,
        tx: &mut T,
        replay: &mut Replay<'_>,
        mut changes: Changes,
    ) -> Result<(), Setback> {
        let new = std::mem::take(&mut changes.sessions.inserts);
        if !new.is_empty() {
            let ids: Vec<SessionId> = new.iter().map(|row| row.id).collect();
            for (row, owner) in new.into_iter().zip(tx.session_owners(&ids).await?) {
                match owner {
                    // A session that another sender of this batch has begun belongs to the sender
                    // whose event arrived first, which the end of the attempt decides.
                    _ if self.begun.contains(&row.id) => return Err(Setback::PiecesVoid),
                    None => {
                        self.begun.insert(row.id);
                        changes.sessions.inserts.push(row);
                    }
                    Some(owner) if owner == row.sender_id => replay.session_is_stored(row.id),
                    // Another sender has the id, so this sender will lose it.
                    Some(_) => return Err(Setback::PiecesVoid),
                }
            }
        }
        tx.write_rows(&changes).await?;
        self.count += 1;
        RowCounts::add(&mut self.rows, &RowCounts::of(&changes));
        Ok(())
    }

    /// Returns an error if a piece was written. Call it before anything is applied again.
    pub(crate) fn none_written(&self) -> Result<(), Setback> {
        if self.count == 0 { Ok(()) } else { Err(Setback::PiecesVoid) }
    }
}

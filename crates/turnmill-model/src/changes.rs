//! Holds what a batch of events does to the tables: typed rows to insert, update and delete, one
//! entry per row.

use uuid::Uuid;

use crate::tables::{
    ActionRow, BotMessageRow, CallRow, CommandRow, DialogRunRow, EventErrorRow, EventRow, FlowStatusRow,
    FrameRow, MarkerRow, MessageFactsRow, Row, SenderRow, SessionFactsRow, SessionRow, SlotFactsRow, SlotRow,
    SlotStateRow, Table, Text, Texts, TurnFactsRow, TurnRow, UserMessageRow, UserRow, Value,
};

/// Holds the row changes of a batch. Each table has its own typed lists.
///
/// There is at most one entry per row id, except for users. An insert that is changed again inside
/// the batch is one insert with the last values.
///
/// A store applies inserts, updates and ends table by table, in the order of
/// [`tables::PUBLIC`](crate::tables::PUBLIC). Then it applies deletes in the opposite order, so
/// that foreign keys hold.
///
/// Two tables are written by key rather than inserted. `inserts` of
/// [`slot_states`](Self::slot_states) replace the row with that id. Those of [`users`](Self::users)
/// widen it (least `first_seen`, greatest `last_seen`), because several senders may share a user.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// The texts of all rows below.
    pub texts: Texts,
    /// `rasa_user`: inserts widen an existing row.
    pub users: Rows<UserRow>,
    /// `rasa_sender`.
    pub senders: Rows<SenderRow>,
    /// `rasa_session`.
    pub sessions: Rows<SessionRow>,
    /// `rasa_turn`.
    pub turns: Rows<TurnRow>,
    /// `rasa_event`.
    pub events: Rows<EventRow>,
    /// `rasa_bot_message`.
    pub bot_messages: Rows<BotMessageRow>,
    /// `rasa_user_message`.
    pub user_messages: Rows<UserMessageRow>,
    /// `rasa_action`.
    pub actions: Rows<ActionRow>,
    /// `rasa_slot`.
    pub slots: Rows<SlotRow>,
    /// `rasa_session_slot_state`: inserts replace an existing row.
    pub slot_states: Rows<SlotStateRow>,
    /// `rasa_markers`.
    pub markers: Rows<MarkerRow>,
    /// `rasa_dialogue_stack_frame`.
    pub frames: Rows<FrameRow>,
    /// `rasa_llm_command`.
    pub commands: Rows<CommandRow>,
    /// `rasa_flow_status`.
    pub flow_statuses: Rows<FlowStatusRow>,
    /// `ext_session`.
    pub session_facts: Rows<SessionFactsRow>,
    /// `ext_turn`.
    pub turn_facts: Rows<TurnFactsRow>,
    /// `ext_message`.
    pub message_facts: Rows<MessageFactsRow>,
    /// `ext_dialog_run`.
    pub dialog_runs: Rows<DialogRunRow>,
    /// `ext_slot`.
    pub slot_facts: Rows<SlotFactsRow>,
    /// `ext_call`.
    pub calls: Rows<CallRow>,
    /// `_turnmill_event_error`.
    pub event_errors: Rows<EventErrorRow>,
}

/// The changes of one table.
#[derive(Clone, Debug)]
pub struct Rows<R> {
    /// New rows.
    pub inserts: Vec<R>,
    /// Rows whose columns change, each with all its columns.
    pub updates: Vec<R>,
    /// New `end_sequence_number`s of rows that otherwise stay. Only sessions, turns and stack
    /// frames have them.
    pub ends: Vec<End>,
    /// Primary keys of rows to delete.
    pub deletes: Vec<Key>,
}

impl<R> Default for Rows<R> {
    fn default() -> Self {
        Self { inserts: Vec::new(), updates: Vec::new(), ends: Vec::new(), deletes: Vec::new() }
    }
}

/// A new end of a session, turn or stack frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The row's id.
    pub id: Uuid,
    /// Its new `end_sequence_number`.
    pub end_sequence_number: i64,
}

/// A primary key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A UUID.
    Id(Uuid),
    /// A slot path, in the changes' texts.
    Path(Text),
}

impl<R: Row> Rows<R> {
    /// Adds the entries of `other`, whose texts are in `from` and are added to `to`.
    fn append(&mut self, other: Self, from: &Texts, to: &mut Texts) {
        let Self { inserts, updates, ends, deletes } = other;
        self.inserts.extend(inserts.into_iter().map(|row| row.rebase(from, to)));
        self.updates.extend(updates.into_iter().map(|row| row.rebase(from, to)));
        self.ends.extend(ends);
        self.deletes.extend(deletes.into_iter().map(|key| match key {
            Key::Id(id) => Key::Id(id),
            Key::Path(path) => Key::Path(to.add(from.get(path))),
        }));
    }
}

impl<R> Rows<R> {
    fn len(&self) -> usize {
        self.inserts.len() + self.updates.len() + self.ends.len() + self.deletes.len()
    }

    fn clear(&mut self) {
        self.inserts.clear();
        self.updates.clear();
        self.ends.clear();
        self.deletes.clear();
    }

    fn mark(&self) -> [usize; 4] {
        [self.inserts.len(), self.updates.len(), self.ends.len(), self.deletes.len()]
    }

    fn truncate(&mut self, mark: [usize; 4]) {
        self.inserts.truncate(mark[0]);
        self.updates.truncate(mark[1]);
        self.ends.truncate(mark[2]);
        self.deletes.truncate(mark[3]);
    }
}

macro_rules! each_table {
    ($macro:ident!($self:ident $($rest:tt)*)) => {
        $macro!($self $($rest)*; users, senders, sessions, turns, events, bot_messages, user_messages, actions, slots,
            slot_states, markers, frames, commands, flow_statuses, session_facts, turn_facts, message_facts,
            dialog_runs, slot_facts, calls, event_errors)
    };
}

/// Marks how far a [`Changes`] had grown. [`Changes::rollback`] returns to it.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    texts: usize,
    rows: [[usize; 4]; 21],
}

impl Changes {
    /// Returns the number of entries of all tables together.
    #[must_use]
    pub fn len(&self) -> usize {
        macro_rules! sum { ($self:ident; $($table:ident),*) => { 0 $(+ $self.$table.len())* } }
        each_table!(sum!(self))
    }

    /// Returns whether there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all entries and keeps the memory.
    pub fn clear(&mut self) {
        macro_rules! clear { ($self:ident; $($table:ident),*) => { $($self.$table.clear();)* } }
        self.texts.clear();
        each_table!(clear!(self));
    }

    /// Returns the present extent, for [`rollback`](Self::rollback).
    #[must_use]
    pub fn mark(&self) -> Mark {
        macro_rules! mark { ($self:ident; $($table:ident),*) => { [$($self.$table.mark()),*] } }
        Mark { texts: self.texts.len(), rows: each_table!(mark!(self)) }
    }

    /// Forgets what was added after `mark`. Entries older than the mark that were changed in place
    /// stay changed.
    pub fn rollback(&mut self, mark: Mark) {
        macro_rules! truncate {
            ($self:ident $marks:ident; $($table:ident),*) => { $($self.$table.truncate($marks.next().unwrap_or_default());)* }
        }
        let mut marks = mark.rows.into_iter();
        self.texts.truncate(mark.texts);
        each_table!(truncate!(self marks));
    }

    /// Adds all entries of `other` after those that are here. No row id may have an entry in both.
    ///
    /// ```
    /// use turnmill_model::{Changes, End};
    /// use uuid::Uuid;
    ///
    /// let (mut changes, mut more) = (Changes::default(), Changes::default());
    /// more.turns.ends.push(End { id: Uuid::from_u128(1), end_sequence_number: 7 });
    /// changes.append(more);
    /// assert_eq!(changes.turns.ends.len(), 1);
    /// ```
    pub fn append(&mut self, mut other: Self) {
        if self.is_empty() {
            *self = other;
            return;
        }
        let (from, to) = (&other.texts, &mut self.texts);
        macro_rules! append {
            ($self:ident $other:ident $from:ident $to:ident; $($table:ident),*) => {$(
                $self.$table.append(std::mem::take(&mut $other.$table), $from, $to);
            )*};
        }
        each_table!(append!(self other from to));
    }

    /// Calls `visit` with the changes of each table, tables without changes included.
    ///
    /// The order is that of [`tables::PUBLIC`](crate::tables::PUBLIC), with the internal event
    /// errors last. It serves writers that treat all tables alike.
    pub fn for_each_table(&self, mut visit: impl FnMut(TableChanges<'_>)) {
        macro_rules! each {
            ($self:ident $visit:ident; $($table:ident),*) => { $($visit(TableChanges::new(&$self.$table, &$self.texts));)* }
        }
        each_table!(each!(self visit));
    }
}

/// Holds the changes of one table, without its row type.
pub struct TableChanges<'c> {
    /// The table.
    pub table: &'static Table,
    /// New rows.
    pub inserts: RowView<'c>,
    /// Changed rows.
    pub updates: RowView<'c>,
    /// New ends.
    pub ends: &'c [End],
    /// Primary keys of rows to delete.
    pub deletes: &'c [Key],
    /// The texts of keys.
    pub texts: &'c Texts,
}

impl<'c> TableChanges<'c> {
    fn new<R: Row>(rows: &'c Rows<R>, texts: &'c Texts) -> Self {
        Self {
            table: R::TABLE,
            inserts: RowView { rows: &rows.inserts, texts },
            updates: RowView { rows: &rows.updates, texts },
            ends: &rows.ends,
            deletes: &rows.deletes,
            texts,
        }
    }
}

impl std::fmt::Debug for TableChanges<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableChanges")
            .field("table", &self.table.name)
            .field("inserts", &self.inserts.len())
            .field("updates", &self.updates.len())
            .field("ends", &self.ends)
            .field("deletes", &self.deletes)
            .finish_non_exhaustive()
    }
}

trait AnyRows {
    fn len(&self) -> usize;
    fn value<'t>(&self, row: usize, column: usize, texts: &'t Texts) -> Value<'t>;
}

impl<R: Row> AnyRows for Vec<R> {
    fn len(&self) -> usize {
        self.len()
    }

    fn value<'t>(&self, row: usize, column: usize, texts: &'t Texts) -> Value<'t> {
        self.get(row).map_or(Value::Null, |row| row.value(column, texts))
    }
}

/// Gives read access to rows of one table without their type.
#[derive(Clone, Copy)]
pub struct RowView<'c> {
    rows: &'c dyn AnyRows,
    texts: &'c Texts,
}

impl<'c> RowView<'c> {
    /// Returns the number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the value of column number `column` of row number `row`, or NULL past either end.
    #[must_use]
    pub fn value(&self, row: usize, column: usize) -> Value<'c> {
        self.rows.value(row, column, self.texts)
    }
}

impl std::fmt::Debug for RowView<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RowView({} rows)", self.len())
    }
}

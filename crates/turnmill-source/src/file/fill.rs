//! Filling a batch with the records of a file.

use memchr::memchr;

use super::change::FileChange;
use super::{CHUNK, FileSource, State};
use crate::RecordBatch;
use crate::container::{Container, Layout, byte_order_mark};
use crate::detect::{Shape, any_columns};
use crate::envelope::{Scratch, read_line};
use crate::respell::{all_doubled, copy_text, has_extended_numbers, plain_numbers};
use crate::scan::Span;
use crate::source::{BatchLimits, Progress, SourceError};
use crate::table::{Dump, read_copied, read_row};
use crate::values::read_value;

/// How far filling a batch has come.
///
/// Unconsumed bytes are in two buffers: first the carry, which an earlier batch left over, then the
/// file. Both are copied to the end of the batch's buffer, and records are found there.
#[derive(Debug, Default)]
pub(super) struct FillCursor {
    /// Consumed bytes of the batch's buffer. What follows them is left over for the next batch.
    pub(super) parsed: usize,
    /// There is no line break between `parsed` and this offset, so it is not searched again.
    searched: usize,
    /// Bytes of the carry that were copied to the batch's buffer.
    carried: usize,
    /// The carry was copied whole, and bytes after it were read from the file.
    pub(super) read: bool,
}

impl FileSource {
    /// Fills the batch with records. Bytes after `cursor.parsed` are left over.
    ///
    /// Each turn of the loop consumes the complete records at hand, and then gets more bytes: from
    /// the carry while it lasts, then from the file. Invariants:
    ///
    /// - Records end at the same offsets, whatever the limits and the sizes of reads are. For that,
    ///   a record at the end of the bytes is taken only if `end` is set. `{"a": 1` may go on.
    /// - `end` is set only if the file's last byte is in one of the two buffers.
    /// - `base + cursor.parsed` is the file's offset of the next byte to consume.
    ///
    /// Example: limits of 2 records, a file of 3 lines, the last one without a line break. The
    /// first call reads all and takes two lines. The second call finds `line3` in the carry, reads
    /// 0 bytes, sets `end` and takes it.
    pub(super) fn fill(
        &mut self,
        shape: &Shape,
        limits: &BatchLimits,
        out: &mut RecordBatch,
        cursor: &mut FillCursor,
    ) -> Result<Progress, SourceError> {
        let (base, records, bytes) = (self.consumed, limits.records.max(1), limits.bytes.max(1));
        self.replaced |= self.follows() && self.idle && self.file_change() == FileChange::Overwritten;
        let (mut end, mut moved_seen, mut partial) = (self.replaced, false, self.eager());
        loop {
            self.take_carry(bytes, out, cursor);
            while out.len() < records && cursor.parsed < bytes {
                let all = end && cursor.carried + self.head >= self.carry.len();
                let next = self.next_record(shape, base, all, out, cursor);
                match next {
                    Some(next) => cursor.parsed = next,
                    None => break,
                }
            }
            let carry_left = cursor.carried + self.head < self.carry.len();
            let drained = !carry_left && cursor.parsed == out.bytes.len();
            if !(end && drained)
                && (out.len() >= records || cursor.parsed >= bytes || partial && !out.is_empty())
            {
                return Ok(Progress::More);
            }
            if carry_left {
                continue;
            }
            if end {
                let restart = self.follows();
                self.state = if restart { State::Restart } else { State::Ended };
                return Ok(if restart { Progress::More } else { Progress::End });
            }
            let open = out.bytes.len() - cursor.parsed;
            if !out.is_empty() && out.bytes.len() >= bytes {
                return Ok(Progress::More);
            }
            if open > self.options.max_record_bytes {
                let path = self.partition.partition.clone();
                let limit = self.options.max_record_bytes;
                let offset = base + cursor.parsed as u64;
                return Err(SourceError::RecordTooLarge { path, offset, limit });
            }
            // An incomplete value is scanned from its start again when more bytes are there.
            // Doubling the step keeps that linear in the value's size.
            let want = if shape.layout == Layout::Lines { CHUNK } else { CHUNK.max(open) };
            if !cursor.read {
                cursor.read = true;
                self.carry.clear();
                self.head = 0;
                cursor.carried = 0;
            }
            let read = self.input.read(&mut out.bytes, want, self.eager());
            let read = read.map_err(|error| self.read_error(error))?;
            partial = self.eager() && read < want;
            if read > 0 {
                continue;
            }
            if !self.follows() {
                end = true;
                continue;
            }
            match self.file_change() {
                FileChange::Same => return Ok(Progress::Idle),
                // The old file may have grown between the read and the check: read it once more.
                FileChange::Moved if !moved_seen => moved_seen = true,
                FileChange::Moved | FileChange::Overwritten => end = true,
            }
            self.replaced = end;
        }
    }

    /// Reads one record, or several from one value. Returns where to continue, or `None` if the
    /// bytes end inside of it. `all` is set if no bytes will follow.
    fn next_record(
        &mut self,
        shape: &Shape,
        base: u64,
        all: bool,
        out: &mut RecordBatch,
        cursor: &mut FillCursor,
    ) -> Option<usize> {
        let (at, container) = (cursor.parsed, shape.container);
        match (shape.layout, container) {
            (Layout::Values, _) => read_value(container, at, base, all, &mut self.scratch, out),
            (Layout::Rows, Container::PgDump) => next_copied(base, all, &mut self.dump, out, cursor),
            (Layout::Rows, _) => {
                let columns = shape.columns.unwrap_or_else(any_columns);
                read_row(&columns, at, base, all, out)
            }
            (Layout::Lines, _) => next_line(shape, base, all, &mut self.scratch, out, cursor),
        }
    }

    /// Copies the next bytes of the carry to the batch's buffer, unless the carry is used up.
    fn take_carry(&self, bytes: usize, out: &mut RecordBatch, cursor: &mut FillCursor) {
        let rest = &self.carry[(self.head + cursor.carried).min(self.carry.len())..];
        if cursor.read || rest.is_empty() {
            return;
        }
        // The step grows with the incomplete value, as in `fill`.
        let step = bytes.max(CHUNK).max(out.bytes.len() - cursor.parsed).min(rest.len());
        out.bytes.extend_from_slice(&rest[..step]);
        cursor.carried += step;
    }
}

/// Reads the next line. Returns where to continue, or `None` if there is no complete one.
fn next_line(
    shape: &Shape,
    base: u64,
    end: bool,
    scratch: &mut Scratch,
    out: &mut RecordBatch,
    cursor: &mut FillCursor,
) -> Option<usize> {
    let (mut line, next) = find_line(base, end, &out.bytes, cursor)?;
    let offset = base + cursor.parsed as u64;
    if shape.doubled && all_doubled(line.of(&out.bytes)) {
        line = copy_text(&mut out.bytes, line);
    }
    if shape.extended && has_extended_numbers(line.of(&out.bytes)) {
        plain_numbers(&mut out.bytes, line);
        line.end = line.start + line.of(&out.bytes).trim_ascii_end().len();
    }
    read_line(shape.container, line, offset, scratch, out);
    Some(next)
}

/// Goes past the next line of a dump. It is a record if it is a row of the table.
fn next_copied(
    base: u64,
    end: bool,
    dump: &mut Dump,
    out: &mut RecordBatch,
    cursor: &mut FillCursor,
) -> Option<usize> {
    let (line, next) = find_line(base, end, &out.bytes, cursor)?;
    if let Some(columns) = dump.pass(line.of(&out.bytes)) {
        read_copied(&columns, line, base + cursor.parsed as u64, out);
    }
    Some(next)
}

/// Returns the next line, without its line break, and the start of the line after it.
fn find_line(base: u64, end: bool, bytes: &[u8], cursor: &mut FillCursor) -> Option<(Span, usize)> {
    let start = cursor.parsed;
    let from = start.max(cursor.searched);
    let (stop, next) = match memchr(b'\n', &bytes[from..]) {
        Some(found) => (from + found, from + found + 1),
        None if end && start < bytes.len() => (bytes.len(), bytes.len()),
        None => {
            cursor.searched = bytes.len();
            return None;
        }
    };
    let mut line = Span::new(start, stop);
    if base == 0 && start == 0 {
        line.start += byte_order_mark(line.of(bytes));
    }
    if line.of(bytes).last() == Some(&b'\r') {
        line.end -= 1;
    }
    Some((line, next))
}

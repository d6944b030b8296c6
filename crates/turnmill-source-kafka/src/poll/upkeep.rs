//! What is done beside reading: ends of logs, back pressure, offsets for the group's tools.

use std::collections::HashMap;
use std::time::Instant;

use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::topic_partition_list::Offset;

use super::{
    HASTE, LOOK_AHEAD, MIRROR, Phase, Poller, QUIET_POLLS, SETTLED, membership, offsets, signed, unsigned,
};
use crate::context::{Ends, TopicPartition, lock};
use crate::group::State;
use crate::merge::Budget;

impl Poller {
    /// Statistics: ends of logs, and positions past offsets that hold no record.
    pub(super) fn told(&mut self, ends: &HashMap<TopicPartition, Ends>) {
        let reading = matches!(self.phase, Phase::Reading);
        let mut settling = Vec::new();
        let mut state = lock(&self.shared.state);
        for (topic_partition, told) in ends {
            let partition = self.partition(topic_partition);
            let number = self
                .lanes
                .get(&topic_partition.0)
                .and_then(|numbers| numbers.get(&topic_partition.1))
                .copied();
            let State { merge, ends, .. } = &mut *state;
            let lane = number.and_then(|number| merge.lanes.get(number));
            let known = ends.entry(partition).or_default();
            // What may be read ends at the last stable offset: records of an open transaction are not waiting for us.
            let end = unsigned(if told.stable >= 0 { told.stable } else { told.high });
            // Statistics of a paused partition are as old as the pause.
            *known = if lane.is_some_and(|lane| lane.paused) { end.max(*known) } else { end };
            let Some(lane) = lane.filter(|_| reading) else { continue };
            let settled = lane.at_end.is_some_and(|since| since.elapsed() >= SETTLED);
            let eof = unsigned(told.eof);
            if settled && lane.stop.is_none() && eof > lane.expected && told.eof <= told.stable.max(told.high)
            {
                settling.extend(number.map(|number| (number, lane.expected, eof)));
            }
        }
        drop(state);
        // Statistics overtake records, so what they say counts only when no record is left that came before them.
        (self.settling, self.quiet) = (settling, 0);
    }

    /// Moves positions on, once all that had come before the statistics was polled.
    pub(super) fn settle(&mut self) {
        if self.settling.is_empty() || self.quiet < QUIET_POLLS || !matches!(self.phase, Phase::Reading) {
            return;
        }
        let mut state = lock(&self.shared.state);
        for (number, expected, eof) in self.settling.drain(..) {
            let State { merge, stats, .. } = &mut *state;
            if let Some(lane) = merge.lanes.get_mut(number)
                && lane.expected == expected
                && lane.at_end.is_some()
            {
                stats.passed += eof - expected;
                lane.expected = eof;
                lane.advance = Some(eof);
            }
        }
        drop(state);
        self.shared.ready.notify_all();
    }

    pub(super) fn full(&self) -> bool {
        let (records, bytes) = lock(&self.shared.state).merge.held();
        records >= self.settings.buffer_records || bytes >= self.settings.buffer_bytes
    }

    /// Stops and goes on reading, by how much is held.
    pub(super) fn gate(&mut self) {
        if !matches!(self.phase, Phase::Reading) {
            return;
        }
        let budget = Budget { records: self.settings.buffer_records, bytes: self.settings.buffer_bytes };
        let mut state = lock(&self.shared.state);
        let changes = state.merge.gate(budget);
        state.stats.pauses += changes.iter().filter(|(_, pause)| *pause).count() as u64;
        drop(state);
        for pause in [true, false] {
            let chosen: Vec<TopicPartition> = changes
                .iter()
                .filter(|(_, change)| *change == pause)
                .filter_map(|(lane, _)| self.partitions.get(*lane).cloned())
                .collect();
            if !chosen.is_empty() {
                let list = self.list(&chosen, |_| Offset::Invalid);
                let _ = if pause { self.consumer.pause(&list) } else { self.consumer.resume(&list) };
            }
        }
    }

    /// Asks where partitions end that are paused: nothing is fetched of them that would say so, and what waits for them
    /// is lag all the same. Lag is all that depends on it, so a failure does not matter.
    pub(super) fn look_ahead(&mut self) {
        if !matches!(self.phase, Phase::Reading) || self.looked_ahead.elapsed() < LOOK_AHEAD {
            return;
        }
        self.looked_ahead = Instant::now();
        let state = lock(&self.shared.state);
        let lanes = self.partitions.iter().zip(&state.merge.lanes);
        let paused: Vec<_> = lanes
            .filter(|(_, lane)| lane.paused)
            .map(|(topic_partition, _)| topic_partition.clone())
            .collect();
        drop(state);
        if paused.is_empty() {
            return;
        }
        let list = self.list(&paused, |_| Offset::End);
        let Ok(list) = self.consumer.offsets_for_times(list, HASTE) else { return };
        let mut state = lock(&self.shared.state);
        for (topic_partition, end) in offsets(&list) {
            let known = state.ends.entry(self.partition(&topic_partition)).or_default();
            *known = end.max(*known);
        }
    }

    /// Tells the group what is stored; for its tools only, so a failure does not matter.
    pub(super) fn mirror(&mut self, now: bool) {
        if self.settings.range.is_some() || !now && self.mirrored.elapsed() < MIRROR {
            return;
        }
        self.mirrored = Instant::now();
        if !self.may_mirror() {
            return;
        }
        let mut state = lock(&self.shared.state);
        let stored = std::mem::take(&mut state.mirror);
        drop(state);
        let ours: HashMap<_, _> = self
            .partitions
            .iter()
            .filter_map(|topic_partition| {
                Some((topic_partition, *stored.get(&self.partition(topic_partition))?))
            })
            .collect();
        if !ours.is_empty() {
            let partitions: Vec<_> = ours.keys().map(|topic_partition| (*topic_partition).clone()).collect();
            let mut list = self.list(&partitions, |topic_partition| {
                Offset::Offset(signed(ours.get(topic_partition).copied().unwrap_or_default()))
            });
            membership::mark(&mut list);
            let _ = self.consumer.commit(&list, CommitMode::Async);
        }
    }
}

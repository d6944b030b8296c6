//! Periodic work beside reading: ends of logs, back-pressure, offsets for the group's tools.

use std::collections::HashMap;
use std::time::Instant;

use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::topic_partition_list::Offset;

use super::{
    IDLE_POLLS, MIRROR_INTERVAL, PAUSED_ENDS_INTERVAL, Phase, Poller, SETTLE_TIME, SHORT_TIMEOUT, membership,
    offsets, signed, unsigned,
};
use crate::context::{Ends, TopicPartition, lock};
use crate::group::State;
use crate::merge::BufferSize;

impl Poller {
    /// Records the ends of logs from statistics, and finds positions that may move past offsets
    /// without records.
    ///
    /// Example: a transaction marker at offset 5 is the last entry of a log. Records 0 to 4 were
    /// read, `expected` is 5, and `eof` is 6. No record will ever arrive to move the position, so
    /// lag would stay at 1.
    pub(super) fn record_statistics(&mut self, ends: &HashMap<TopicPartition, Ends>) {
        let reading = matches!(self.phase, Phase::Reading);
        let mut settling = Vec::new();
        let mut state = lock(&self.shared.state);
        for (topic_partition, reported) in ends {
            let partition = self.partition(topic_partition);
            let number = self
                .lanes
                .get(&topic_partition.0)
                .and_then(|numbers| numbers.get(&topic_partition.1))
                .copied();
            let State { merge, ends, .. } = &mut *state;
            let lane = number.and_then(|number| merge.lanes.get(number));
            let known = ends.entry(partition).or_default();
            // Readable records end at the last stable offset. Records of an open transaction are no
            // lag.
            let end = unsigned(if reported.stable >= 0 { reported.stable } else { reported.high });
            // Statistics of a paused partition are as old as the pause.
            *known = if lane.is_some_and(|lane| lane.paused) { end.max(*known) } else { end };
            let Some(lane) = lane.filter(|_| reading) else { continue };
            let settled = lane.at_end.is_some_and(|since| since.elapsed() >= SETTLE_TIME);
            let eof = unsigned(reported.eof);
            if settled
                && lane.stop.is_none()
                && eof > lane.expected
                && reported.eof <= reported.stable.max(reported.high)
            {
                settling.extend(number.map(|number| (number, lane.expected, eof)));
            }
        }
        drop(state);
        // Statistics overtake records in the client's queue. They count only once the queue is
        // empty.
        (self.settling, self.idle_polls) = (settling, 0);
    }

    /// Moves positions past offsets without records, once the client's queue has been empty.
    pub(super) fn settle(&mut self) {
        if self.settling.is_empty() || self.idle_polls < IDLE_POLLS || !matches!(self.phase, Phase::Reading) {
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

    pub(super) fn buffer_is_full(&self) -> bool {
        let buffered = lock(&self.shared.state).merge.buffered();
        buffered.records >= self.settings.buffer_records || buffered.bytes >= self.settings.buffer_bytes
    }

    /// Pauses and resumes partitions according to the buffered amount.
    pub(super) fn pause_and_resume(&mut self) {
        if !matches!(self.phase, Phase::Reading) {
            return;
        }
        let budget = BufferSize { records: self.settings.buffer_records, bytes: self.settings.buffer_bytes };
        let mut state = lock(&self.shared.state);
        let changes = state.merge.pause_changes(budget);
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

    /// Fetches the ends of paused partitions, for their lag. Nothing is fetched of them that would
    /// update the ends. A failure only makes the lag old, so it is ignored.
    pub(super) fn fetch_paused_ends(&mut self) {
        if !matches!(self.phase, Phase::Reading) || self.paused_ends_fetched.elapsed() < PAUSED_ENDS_INTERVAL
        {
            return;
        }
        self.paused_ends_fetched = Instant::now();
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
        let Ok(list) = self.consumer.offsets_for_times(list, SHORT_TIMEOUT) else { return };
        let mut state = lock(&self.shared.state);
        for (topic_partition, end) in offsets(&list) {
            let known = state.ends.entry(self.partition(&topic_partition)).or_default();
            *known = end.max(*known);
        }
    }

    /// Commits stored positions to the group. They only inform tools, so a failure is ignored.
    pub(super) fn mirror(&mut self, now: bool) {
        if self.settings.range.is_some() || !now && self.mirrored.elapsed() < MIRROR_INTERVAL {
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

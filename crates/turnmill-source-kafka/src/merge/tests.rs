//! Laws of the merge.

use proptest::prelude::*;

use super::*;

const NO_LIMITS: GroupLimits =
    GroupLimits { records: 1000, bytes: 1 << 20, linger: Duration::from_millis(100), wait: Duration::ZERO };

fn merge(lanes: usize, now: Instant) -> Merge {
    let mut merge = Merge::default();
    let lane = |lane| Lane::new(PartitionId::new("k", format!("t/{lane}")), None, 0, now);
    merge.reset((0..lanes).map(lane).collect());
    merge
}

fn push(merge: &mut Merge, lane: usize, offset: u64, time: Option<f64>, now: Instant) -> Option<u64> {
    merge.push(lane, &NewRecord { payload: Some(b"{}"), offset, time, ..NewRecord::default() }, now)
}

fn offset(position: Option<&Position>) -> Option<u64> {
    position.map(|position| position.offset)
}

fn handed(batch: &RecordBatch) -> Vec<(usize, u64)> {
    let number = |part: usize| batch.parts()[part].partition.partition[2..].parse().unwrap();
    batch.iter().map(|record| (number(record.part), record.offset)).collect()
}

#[test]
fn records_come_in_the_order_of_their_times() {
    let now = Instant::now();
    let mut merge = merge(2, now);
    for (lane, offset, time) in [(0, 0, 1.0), (0, 1, 4.0), (1, 0, 2.0), (1, 1, 3.0), (1, 2, 5.0)] {
        assert_eq!(push(&mut merge, lane, offset, Some(time), now), Some(0));
    }
    (0..2).for_each(|lane| merge.reached_end(lane, now));
    let mut out = RecordBatch::new();
    merge.fill(&NO_LIMITS, 7, now, &mut out);
    assert_eq!(handed(&out), [(0, 0), (1, 0), (1, 1), (0, 1), (1, 2)]);
    assert_eq!(out.generation(), 7);
    assert_eq!(offset(out.parts()[1].to.as_ref()), Some(3));
}

#[test]
fn a_batch_is_due_after_the_linger_or_when_all_is_quiet_at_the_end() {
    let start = Instant::now();
    let after = |millis| start + Duration::from_millis(millis);
    let mut merge = merge(2, start);
    assert_eq!(merge.due(&NO_LIMITS, after(500)), Due::Never);
    push(&mut merge, 0, 0, None, after(500));
    assert_eq!(merge.due(&NO_LIMITS, after(510)), Due::At(after(600)));
    assert_eq!(merge.due(&NO_LIMITS, after(600)), Due::Now);
    merge.reached_end(0, after(505));
    assert_eq!(merge.due(&NO_LIMITS, after(510)), Due::At(after(600)), "the other one may have more");
    merge.reached_end(1, after(505));
    assert_eq!(merge.due(&NO_LIMITS, after(510)), Due::Now);
}

#[test]
fn a_full_batch_waits_for_a_partition_that_has_run_dry_but_not_for_long() {
    let start = Instant::now();
    let after = |millis| start + Duration::from_millis(millis);
    let limits = GroupLimits { records: 2, ..NO_LIMITS };
    let mut merge = merge(2, start);
    for offset in 0..2 {
        push(&mut merge, 0, offset, None, after(20));
    }
    assert_eq!(merge.due(&limits, after(20)), Due::At(after(100)));
    assert_eq!(merge.due(&limits, after(100)), Due::Now);
    push(&mut merge, 1, 0, None, after(30));
    assert_eq!(merge.due(&limits, after(30)), Due::Now);
}

#[test]
fn a_batch_ends_where_a_partition_that_is_behind_runs_dry_unless_it_is_overdue() {
    let start = Instant::now();
    let after = |millis| start + Duration::from_millis(millis);
    let limits = GroupLimits { records: 40, ..NO_LIMITS };
    let mut merge = merge(2, start);
    for offset in 0..50 {
        push(&mut merge, 0, offset, Some(offset as f64), start);
    }
    push(&mut merge, 1, 0, Some(2.5), after(1));
    assert_eq!(merge.due(&limits, after(1)), Due::At(after(6)), "one record is little, and more may come");
    assert_eq!(merge.due(&limits, after(6)), Due::Now);
    let mut out = RecordBatch::new();
    merge.fill(&limits, 1, after(6), &mut out);
    assert_eq!(handed(&out), [(0, 0), (0, 1), (0, 2), (1, 0)]);
    assert_eq!(merge.due(&limits, after(6)), Due::At(after(106)));
    push(&mut merge, 1, 1, Some(4.5), after(90));
    merge.fill(&limits, 1, after(106), &mut out);
    assert_eq!(out.len(), 40, "records have waited for long enough");
    assert_eq!(handed(&out)[2..4], [(1, 1), (0, 5)]);
}

#[test]
fn a_position_moves_past_what_holds_no_record_without_one() {
    let now = Instant::now();
    let mut merge = merge(1, now);
    push(&mut merge, 0, 3, None, now);
    let mut out = RecordBatch::new();
    merge.fill(&NO_LIMITS, 1, now, &mut out);
    (merge.lanes[0].advance, merge.lanes[0].expected) = (Some(6), 6);
    assert_eq!(merge.due(&NO_LIMITS, now), Due::Now);
    merge.fill(&NO_LIMITS, 1, now, &mut out);
    assert!(out.is_empty());
    assert_eq!((offset(out.from()), offset(out.to())), (Some(4), Some(6)));
    assert_eq!(merge.due(&NO_LIMITS, now), Due::Never);
}

#[test]
fn a_partition_pauses_at_its_share_and_goes_on_at_half_of_it() {
    let now = Instant::now();
    let mut merge = merge(2, now);
    let budget = Budget { records: 8, bytes: 1 << 20 };
    for offset in 0..4 {
        assert_eq!(merge.gate(budget), []);
        push(&mut merge, 0, offset, None, now);
    }
    assert_eq!(merge.gate(budget), [(0, true)]);
    let mut out = RecordBatch::new();
    merge.fill(&GroupLimits { records: 1, ..NO_LIMITS }, 1, now, &mut out);
    assert_eq!(merge.gate(budget), []);
    merge.fill(&GroupLimits { records: 1, ..NO_LIMITS }, 1, now, &mut out);
    assert_eq!(merge.gate(budget), [(0, false)]);
}

proptest! {
    /// Whatever comes and however it is cut: each record once, in the order of its partition, batches join without a
    /// gap, and nothing is held in the end.
    #[test]
    fn all_comes_out_once_in_order_and_the_budget_returns_to_zero(
        steps in prop::collection::vec((0..3_usize, 0..3_u64, prop::option::of(0..50_u32), 0..6_usize, 0..40_usize), 1..300),
    ) {
        let now = Instant::now();
        let mut merge = merge(3, now);
        let mut next = [0_u64; 3];
        let mut pushed: [Vec<u64>; 3] = Default::default();
        let mut came: [Vec<u64>; 3] = Default::default();
        let mut positions: [Option<Position>; 3] = Default::default();
        let mut out = RecordBatch::new();
        let mut take = |merge: &mut Merge, records: usize| {
            merge.fill(&GroupLimits { records: records.max(1), ..NO_LIMITS }, 1, now, &mut out);
            for (lane, offset) in handed(&out) {
                came[lane].push(offset);
            }
            for part in out.parts() {
                let lane: usize = part.partition.partition[2..].parse().unwrap();
                assert_eq!(part.from, positions[lane]);
                assert_eq!(offset(part.to.as_ref()), came[lane].last().map(|last| last + 1));
                positions[lane].clone_from(&part.to);
            }
            out.len()
        };
        for (lane, gap, time, cut, size) in steps {
            let offset = next[lane] + gap;
            let payload = vec![b'x'; size];
            let headers: &[(&str, Option<&[u8]>)] = &[("RASA_ENVIRONMENT", Some(b"test")), ("h", None)];
            let record = NewRecord {
                payload: Some(&payload), offset, time: time.map(f64::from), key: Some(b"key"),
                headers: &headers[..size % 3], ..NewRecord::default()
            };
            prop_assert_eq!(merge.push(lane, &record, now), Some(gap));
            prop_assert_eq!(merge.push(lane, &record, now), None, "a second time");
            pushed[lane].push(offset);
            next[lane] = offset + 1;
            if cut == 0 {
                take(&mut merge, size);
            }
        }
        while merge.held().0 > 0 {
            prop_assert!(take(&mut merge, 7) > 0);
        }
        prop_assert_eq!(came, pushed);
        prop_assert_eq!(merge.held(), (0, 0));
        prop_assert!(merge.lanes.iter().all(|lane| (lane.records, lane.bytes) == (0, 0)));
    }
}

/// A merge of one partition that was read up to the record at `offset`, and is to be read on in a log.
fn resumed(offset: u64, value: &[u8], now: Instant) -> Merge {
    let last = LastRecord::new(offset, Some(1000), None, value);
    let stored = Position { last: Some(last), ..Position::at(offset + 3) };
    let mut lane = Lane::new(PartitionId::new("k", "t/0"), Some(stored), offset + 3, now);
    lane.expects = Some(last);
    assert_eq!(lane.first(), offset, "the record is read once more");
    let mut merge = Merge::default();
    merge.reset(vec![lane]);
    merge
}

#[test]
fn a_log_is_read_on_only_if_it_has_the_record_that_was_read_last() {
    let now = Instant::now();
    let record =
        |offset, value| NewRecord { payload: Some(value), offset, time: Some(1.0), ..NewRecord::default() };
    let same: &[u8] = b"same";

    let mut merge = resumed(7, same, now);
    assert_eq!(merge.push(0, &record(7, same), now), None, "it was read before");
    assert_eq!(merge.push(0, &record(10, b"next"), now), Some(0));
    assert!(merge.rewritten().is_empty());
    let mut out = RecordBatch::new();
    merge.fill(&NO_LIMITS, 1, now, &mut out);
    let expected =
        Position { last: Some(LastRecord::new(10, Some(1000), None, b"next")), ..Position::at(11) };
    assert_eq!((handed(&out), out.to()), (vec![(0, 10)], Some(&expected)));

    for other in [record(7, b"other"), record(8, same), NewRecord { time: None, ..record(7, same) }] {
        let mut merge = resumed(7, same, now);
        assert_eq!(merge.push(0, &other, now), None);
        assert_eq!(merge.push(0, &record(10, b"next"), now), None, "nothing more is taken of that log");
        assert_eq!(offset(merge.rewritten().first().map(|(_, stored)| stored)), Some(10));
        assert_eq!(merge.held(), (0, 0));
    }

    let mut merge = resumed(7, same, now);
    merge.reached_end(0, now);
    assert_eq!(merge.rewritten().len(), 1, "the end came without it");
}

#[test]
fn a_range_does_not_end_before_its_log_was_recognised() {
    let now = Instant::now();
    let mut merge = resumed(7, b"same", now);
    merge.lanes[0].stop = Some(10);
    merge.lanes[0].opened = None;
    assert!(!merge.ended());
    let same = NewRecord { payload: Some(b"same"), offset: 7, time: Some(1.0), ..NewRecord::default() };
    merge.push(0, &same, now);
    assert!(merge.ended());
}

//! The checks of rows that are written in pieces, before the rest of their batch.

use std::fmt::Write as _;

use turnmill_sink::Class;
use turnmill_sink::outbox::{ChangeBatch, Outbox, SinkSpec, SinkStart};

use super::cases::{Bench, START, expected};
use super::{Fixture, Replica, conversation};

/// Rows of a piece, few, so that a short conversation has many pieces.
const PIECE: usize = 16;

/// Returns a conversation whose session is named by its first message, and an earlier message.
/// Together they name the session otherwise, so all of its rows change.
fn renamed() -> (Vec<String>, String) {
    let stored = conversation("u1", 12, START).split_off(4);
    (stored, message("u1", START - 1.0, ""))
}

fn message(sender: &str, time: f64, rest: &str) -> String {
    let mut line = String::new();
    let _ = write!(
        line,
        r#"{{"sender_id": "{sender}", "event": "user", "timestamp": {time:?}, "text": "hi"{rest}}}"#
    );
    line
}

pub(super) async fn a_renamed_session_is_written_in_pieces<F: Fixture>(fixture: &mut F) {
    let (mut lines, early) = renamed();
    let mut bench = Bench::gathering(fixture.create(), PIECE).await;
    bench.write(&lines, "1").await.unwrap();
    let before = bench.digests().await;
    let mut failures = 0;
    let report = loop {
        fixture.fail_after(&mut bench.store, Some(failures * 3));
        let result = bench.write(std::slice::from_ref(&early), "2").await;
        fixture.fail_after(&mut bench.store, None);
        match result {
            Ok(report) => break report,
            Err(error) => {
                assert!(matches!(error.class(), Class::Retryable { .. }), "{error}");
                assert_eq!(bench.digests().await, before, "a failure leaves no piece");
                failures += 1;
            }
        }
    };
    assert!(report.pieces > 2 && failures > report.pieces, "{report:?}, {failures} failures");
    lines.insert(0, early);
    let whole = expected(fixture, &lines).await;
    assert_eq!(bench.digests().await, whole, "pieces do not show");
    // In the order from the last to the first, each message renames the session.
    let mut bench = Bench::gathering(fixture.create(), PIECE).await;
    let mut pieces = 0;
    for (number, batch) in lines.chunks(9).rev().enumerate() {
        pieces += bench.write(batch, &number.to_string()).await.unwrap().pieces;
    }
    assert!(pieces > 5, "{pieces}");
    assert_eq!(bench.digests().await, whole, "pieces do not show in the reverse order");
}

/// Pieces are written before it is known that another sender of the batch loses its session id, and
/// that everything is applied again.
pub(super) async fn pieces_are_taken_back_if_a_batch_is_applied_again<F: Fixture>(fixture: &mut F) {
    let (mut lines, early) = renamed();
    let claim = r#", "metadata": {"session_id": "0f0e0d0c-0b0a-4908-8706-050403020100"}"#;
    let batch = [early, message("u2", START, claim), message("u3", START, claim)];
    let mut bench = Bench::gathering(fixture.create(), PIECE).await;
    bench.write(&lines, "1").await.unwrap();
    let report = bench.write(&batch, "2").await.unwrap();
    assert_eq!((report.pieces, report.counts.events), (0, 3), "written at once the second time");
    lines.extend(batch);
    assert_eq!(bench.digests().await, expected(fixture, &lines).await);
}

/// Sessions with ids of their own: a late message with the id of another session takes all that
/// follows with it.
pub(super) async fn a_session_with_an_id_of_its_own_is_written_in_pieces<F: Fixture>(fixture: &mut F) {
    let named = |digit: char| {
        format!(r#", "metadata": {{"session_id": "0f0e0d0c-0b0a-4908-8706-05040302010{digit}"}}"#)
    };
    let mut stored = vec![message("u1", START - 2.0, &named('a'))];
    stored.extend(conversation("u1", 12, START).split_off(4));
    let early = message("u1", START - 1.0, &named('b'));
    let later = message("u1", START + 1000.0, &named('b'));
    let of_another = message("u2", START, &named('b'));
    // Other events with the late one's id: those that are stored, and those of its batch before it.
    let cases = [
        (vec![], vec![], true),
        (vec![later.clone()], vec![], true),
        (vec![], vec![later], true),
        (vec![of_another.clone()], vec![], false),
        (vec![], vec![of_another], false),
    ];
    for (number, (before, beside, in_pieces)) in cases.into_iter().enumerate() {
        let mut bench = Bench::gathering(fixture.create(), PIECE).await;
        let mut lines = [stored.clone(), before].concat();
        bench.write(&lines, "1").await.unwrap();
        let batch = [beside, vec![early.clone()]].concat();
        let report = bench.write(&batch, "2").await.unwrap();
        assert_eq!(report.pieces > 2, in_pieces, "case {number}: {report:?}");
        lines.extend(batch);
        assert_eq!(bench.digests().await, expected(fixture, &lines).await, "case {number}");
    }
}

pub(super) async fn a_sink_gets_pieces_in_order<F: Fixture>(fixture: &mut F)
where
    F::Store: Outbox,
{
    let (lines, early) = renamed();
    let mut bench = Bench::gathering(fixture.create(), PIECE).await;
    let spec = SinkSpec { start: SinkStart::Now, ..SinkSpec::new("replica") };
    bench.store.put_sink(&spec).await.unwrap();
    bench.write(&lines, "1").await.unwrap();
    let report = bench.write(&[early], "2").await.unwrap();
    let entries = bench.store.outbox(0, 1000, 1 << 30).await.unwrap();
    let numbers: Vec<u64> = entries.iter().map(|entry| entry.number).collect();
    let expected: Vec<u64> = (1..=report.pieces + 2).collect();
    assert_eq!(numbers, expected, "an entry for each piece, and one for the rest of each batch");
    let mut replica = Replica::default();
    for entry in entries {
        replica.apply(&ChangeBatch::from_bytes(entry.number, &entry.bytes).unwrap());
    }
    assert_eq!(replica.digests().tables, bench.digests().await.tables, "the sink has the store's rows");
}

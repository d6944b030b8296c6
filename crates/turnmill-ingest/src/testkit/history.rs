//! The check of history that is read in pages.

use turnmill_engine::Checkpoint;
use turnmill_model::{EventTime, SenderId, Settings};

use super::Fixture;
use turnmill_sink::{
    Batch, CheckpointWrite, Chunk, Claim, HistoryRequest, HistoryStretch, HistoryWrite, Store, StoreError,
    Transaction,
};

/// Returns a time some smallest steps after another one: fractions of a microsecond.
fn time(steps: u64) -> EventTime {
    EventTime::from_seconds(f64::from_bits(f64::to_bits(1_656_382_549.326_936) + steps)).unwrap()
}

async fn write<S: Store>(store: &mut S, batch: Batch) -> Result<(), StoreError> {
    let claim = Claim::default();
    let mut tx = store.begin(&claim).await?;
    tx.write(&batch).await?;
    tx.commit().await
}

pub(super) async fn history_comes_in_pages_by_exact_time<F: Fixture>(fixture: &mut F) {
    let mut store = fixture.create();
    store.open(&Settings::default()).await.unwrap();
    let (sender, other) = (SenderId::new(None, "a"), SenderId::new(None, "b"));
    let chunk = |sender, number: u64, least, greatest| HistoryWrite {
        sender,
        chunk: Chunk {
            number,
            least: time(least),
            greatest: time(greatest),
            bytes: vec![number as u8; 3000],
        },
        replaces: false,
    };
    let mut history: Vec<HistoryWrite> = [(1, 0, 4), (2, 7, 9), (3, 2, 5), (4, 2, 3), (5, 6, 6)]
        .map(|(number, least, greatest)| chunk(sender, number, least, greatest))
        .into();
    history.push(chunk(other, 1, 3, 8));
    let writes = |stretch: (Option<u64>, Option<u64>), states: &[u64]| CheckpointWrite {
        sender,
        stretch: HistoryStretch { after: stretch.0.map(time), before: stretch.1.map(time) },
        checkpoints: states
            .iter()
            .map(|steps| Checkpoint { time: time(*steps), state: vec![*steps as u8] })
            .collect(),
    };
    let checkpoints = vec![writes((None, None), &[2, 5, 8])];
    write(&mut store, Batch { history, checkpoints, ..Batch::default() }).await.unwrap();
    // Only checkpoints strictly inside a stretch are removed. A later stretch of the batch also
    // removes those of an earlier one.
    let checkpoints = vec![writes((Some(2), Some(8)), &[3, 7]), writes((Some(2), Some(8)), &[4])];
    write(&mut store, Batch { checkpoints, ..Batch::default() }).await.unwrap();

    let claim = Claim::default();
    let mut tx = store.begin(&claim).await.unwrap();
    let all = vec![time(2), time(4), time(8)];
    let start = Some(time(4));
    let expected = [
        (sender, None, 0, 9, (None, all.clone(), vec![1, 3, 4, 5, 2], None)),
        (sender, Some(1), 0, 9, (None, all, vec![1, 3, 4, 5, 2], None)),
        // A page has the checkpoints from its first chunk up to the next page.
        (sender, None, 0, 1, (None, vec![], vec![1], Some(time(2)))),
        (sender, None, 1, 2, (None, vec![time(2), time(4)], vec![3, 4], Some(time(6)))),
        (sender, None, 3, 2, (None, vec![time(8)], vec![5, 2], None)),
        (sender, Some(4), 0, 2, (start, vec![], vec![1, 3], Some(time(6)))),
        (sender, Some(4), 2, 2, (start, vec![time(8)], vec![5, 2], None)),
        (sender, Some(4), 9, 2, (start, vec![], vec![], None)),
        (sender, Some(7), 2, 1, (start, vec![], vec![5], Some(time(7)))),
        (sender, Some(7), 3, 1, (start, vec![time(8)], vec![2], None)),
        (sender, Some(9), 0, 9, (Some(time(8)), vec![], vec![2], None)),
        (other, Some(9), 0, 9, (None, vec![], vec![1], None)),
        (SenderId::new(None, "c"), None, 0, 9, (None, vec![], vec![], None)),
    ];
    let mut requests = Vec::new();
    let mut pages = Vec::new();
    for (sender, since, skip, limit, expected) in expected {
        let request = HistoryRequest { sender, since: since.map(time), skip, limit };
        let page = tx.history(&request).await.unwrap();
        let numbers: Vec<u64> = page.chunks.iter().map(|chunk| chunk.number).collect();
        let checkpoints: Vec<EventTime> = page.checkpoints.iter().map(|checkpoint| checkpoint.time).collect();
        let found = (page.start.as_ref().map(|start| start.time), checkpoints, numbers, page.next);
        assert_eq!(found, expected, "{request:?}");
        requests.push(request);
        pages.push(page);
    }
    assert_eq!(tx.histories(&requests).await.unwrap(), pages, "several at once are as one after the other");
    assert_eq!(tx.histories(&[]).await.unwrap(), []);
    drop(tx);

    // A chunk that does not exist cannot be replaced.
    let replaced = |number| HistoryWrite { replaces: true, ..chunk(sender, number, 0, 4) };
    write(&mut store, Batch { history: vec![replaced(1)], ..Batch::default() }).await.unwrap();
    let error =
        write(&mut store, Batch { history: vec![replaced(8)], ..Batch::default() }).await.unwrap_err();
    assert!(error.to_string().contains("chunk 8"), "{error}");
}

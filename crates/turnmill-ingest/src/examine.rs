//! Looks for damage in a store: compares what it says of itself with what it has.

use turnmill_engine::Timeline;
use turnmill_model::SenderId;
use turnmill_sink::{Examination, Examine, StoreError, StoredSender};

use crate::history::{Entries, unpack};

/// Senders that are read at a time.
const STEP: usize = 200;
/// Most damaged senders that are named.
const NAMED: usize = 5;

/// Looks for damage in a store: in pages and indexes, in references, and in contradictions between
/// rows, ledger, states and history. `thorough` adds checks that take long.
///
/// # Errors
///
/// Returns the errors of reading. Damage that makes a part unreadable is a finding, not an error.
pub async fn examine<S: Examine>(store: &mut S, thorough: bool) -> Result<Examination, StoreError> {
    let mut examined = Examination::default();
    let parts = [
        store.integrity(thorough).await,
        store.references().await,
        numbers(store).await,
        senders(store).await,
    ];
    for part in parts {
        match part {
            Ok(part) => examined.add(part),
            Err(StoreError::Damaged { detail }) => examined.findings.push(detail),
            Err(error) => return Err(error),
        }
    }
    Ok(examined)
}

async fn numbers<S: Examine>(store: &mut S) -> Result<Examination, StoreError> {
    let numbers = store.equal_numbers().await?;
    let differ = numbers.iter().filter(|equal| !equal.holds());
    Ok(Examination {
        looked_at: vec![
            "rows of events, messages, actions and slots, as many as the ledger and the events say".into(),
        ],
        findings: differ.map(ToString::to_string).collect(),
        ..Examination::default()
    })
}

async fn senders<S: Examine>(store: &mut S) -> Result<Examination, StoreError> {
    let (mut wrong, mut after, mut count) = (Vec::new(), None, 0_u64);
    loop {
        let kept = store.kept(after, STEP).await?;
        let Some((last, _)) = kept.last() else { break };
        after = Some(*last);
        count += kept.len() as u64;
        for (sender, kept) in &kept {
            if let Some(problem) = problem(*sender, kept) {
                wrong.push((*sender, problem));
            }
        }
    }
    let mut findings: Vec<String> =
        wrong.iter().take(NAMED).map(|(sender, problem)| format!("sender {sender}: {problem}")).collect();
    if wrong.len() > NAMED {
        findings.push(format!("and {} more senders", wrong.len() - NAMED));
    }
    let looked_at = vec![format!("states and history of {count} senders, with their rows")];
    Ok(Examination { looked_at, findings, ..Examination::default() })
}

/// Returns what is wrong with a sender, or `None`.
fn problem(sender: SenderId, kept: &StoredSender) -> Option<String> {
    let timeline = match Timeline::from_bytes(&kept.state) {
        Ok(timeline) => timeline,
        Err(error) => return Some(format!("its state cannot be read: {error}")),
    };
    if timeline.sender() != sender {
        return Some(format!("its state is that of sender {}", timeline.sender()));
    }
    let mut events = 0;
    for chunk in &kept.chunks {
        let bytes = match unpack(chunk) {
            Ok(bytes) => bytes,
            Err(error) => return Some(error.to_string()),
        };
        match Entries::read(&bytes) {
            Ok(entries) => events += entries.0.len() as u64,
            Err(error) => return Some(error.to_string()),
        }
    }
    // The engine makes several rows of a record that holds both sides of an exchange.
    let expected = events.saturating_add_signed(timeline.extra_rows());
    if expected != kept.events {
        return Some(format!(
            "its history has events for {expected} rows and rasa_event {} rows",
            kept.events
        ));
    }
    (events > 0 && !kept.has_row).then(|| "rasa_sender has no row of it".into())
}

//! Looking for damage: what a store says of itself, compared with what it has.

use std::fmt;
use std::future::Future;

use turnmill_engine::Timeline;
use turnmill_model::SenderId;

use crate::history::{Entries, unpack};
use crate::{Inspect, StoreError};

/// Senders that are looked at together.
const STEP: usize = 200;
/// Senders that are named of those with something wrong.
const NAMED: usize = 5;

/// What was looked at, and what is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Examined {
    /// What was looked at, each in a few words.
    pub looked_at: Vec<String>,
    /// What was not, and how it can be.
    pub left_out: Vec<String>,
    /// What is wrong; empty if the store is sound as far as was looked.
    pub findings: Vec<String>,
}

impl Examined {
    /// Adds what was found elsewhere.
    pub fn add(&mut self, other: Self) {
        self.looked_at.extend(other.looked_at);
        self.left_out.extend(other.left_out);
        self.findings.extend(other.findings);
    }
}

/// Numbers that have to be equal, of one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Equal {
    /// The one, in words.
    pub expected: String,
    /// How many.
    pub expected_count: i64,
    /// The other, in words.
    pub found: String,
    /// How many.
    pub found_count: i64,
    /// Whether the other may be less.
    pub may_be_less: bool,
}

impl Equal {
    fn holds(&self) -> bool {
        self.found_count == self.expected_count || self.may_be_less && self.found_count < self.expected_count
    }
}

/// What a store keeps of a sender beside its rows, and how many rows it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The serialised timeline.
    pub state: Vec<u8>,
    /// The chunks of the history.
    pub chunks: Vec<Vec<u8>>,
    /// Rows of `rasa_event`.
    pub events: u64,
    /// Whether `rasa_sender` has the sender.
    pub has_row: bool,
}

/// What [`examine`] asks of a store.
pub trait Examine: Inspect {
    /// Looks at the pages and indexes of the database, as far as the database can do that by itself. Unless it is to be
    /// `thorough`, what takes long for a large store is left out.
    fn integrity(&mut self, thorough: bool) -> impl Future<Output = Result<Examined, StoreError>> + Send;

    /// Looks for rows that refer to rows that are not there.
    fn references(&mut self) -> impl Future<Output = Result<Examined, StoreError>> + Send;

    /// Numbers of rows that have to be equal.
    fn equal_numbers(&mut self) -> impl Future<Output = Result<Vec<Equal>, StoreError>> + Send;

    /// What is kept of the senders with an id above `after`, in ascending order, at most `limit`.
    fn kept(
        &mut self,
        after: Option<SenderId>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(SenderId, Kept)>, StoreError>> + Send;
}

/// Looks for damage in a store: pages and indexes, references, and whether rows, ledger, states and history say the same.
///
/// # Errors
///
/// Those of reading; damage that keeps a part from being read is among the findings.
pub async fn examine<S: Examine>(store: &mut S, thorough: bool) -> Result<Examined, StoreError> {
    let mut examined = Examined::default();
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

async fn numbers<S: Examine>(store: &mut S) -> Result<Examined, StoreError> {
    let numbers = store.equal_numbers().await?;
    let differ = numbers.iter().filter(|equal| !equal.holds());
    Ok(Examined {
        looked_at: vec![
            "rows of events, messages, actions and slots, as many as the ledger and the events say".into(),
        ],
        findings: differ.map(ToString::to_string).collect(),
        ..Examined::default()
    })
}

async fn senders<S: Examine>(store: &mut S) -> Result<Examined, StoreError> {
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
    Ok(Examined { looked_at, findings, ..Examined::default() })
}

/// What is wrong with a sender.
fn problem(sender: SenderId, kept: &Kept) -> Option<String> {
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
            Ok(entries) => events += entries.entries.len() as u64,
            Err(error) => return Some(error.to_string()),
        }
    }
    if events != kept.events {
        return Some(format!("its history has {events} events and rasa_event {} rows", kept.events));
    }
    (events > 0 && !kept.has_row).then(|| "rasa_sender has no row of it".into())
}

impl fmt::Display for Equal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { expected, expected_count, found, found_count, may_be_less: _ } = self;
        write!(f, "{expected} {expected_count}, but {found} {found_count}")
    }
}

//! Checks a store against the laws: in any order of arrival and with any batches, writers and
//! failures, its tables are the oracle's.
#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::missing_errors_doc,
    reason = "used in tests only"
)]

use proptest::prelude::*;
use turnmill_formats::lex::LexDecoder;
use turnmill_formats::rasa::RasaDecoder;
use turnmill_ingest::RowRules;
use turnmill_ingest::testkit::{Delivery, Driver, Fixture};
use turnmill_model::tables::{Column, ColumnType, PUBLIC};
use turnmill_model::{Decoder, Event, Record, Refused, SessionIdMode, SessionRule, Settings};
use turnmill_sink::digest::Digests;
use turnmill_sink::{Counts, MemoryStore};
use uuid::Uuid;

use crate::generate::OwnedRecord;
use crate::{Oracle, OwnedValue, Tables};

/// How records are delivered.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Settings of decoder, engine and store.
    pub settings: Settings,
    /// Sizes of the batches, repeated.
    pub batches: Vec<usize>,
    /// Number of writers, which take turns.
    pub writers: usize,
    /// The engine's distance between checkpoints.
    pub checkpoint_every: u16,
    /// Memory of each writer for senders' states.
    pub cache_bytes: usize,
    /// Number of statements after which the first attempt of a batch fails, repeated.
    pub failures: Vec<Option<u64>>,
}

impl Default for Plan {
    /// Small batches, one writer, no failures.
    fn default() -> Self {
        Self {
            settings: Settings::default(),
            batches: vec![7],
            writers: 1,
            checkpoint_every: 4,
            cache_bytes: 1 << 20,
            failures: vec![None],
        }
    }
}

impl Plan {
    /// Returns the rules of the plan, with the decoder that `decoder` makes from its settings.
    pub fn rules<D: Decoder + 'static>(&self, decoder: impl FnOnce(&Settings) -> D) -> RowRules {
        RowRules::new(&self.settings, decoder).with_checkpoint_every(self.checkpoint_every)
    }
}

/// Generates any plan.
pub fn plans() -> impl Strategy<Value = Plan> {
    let settings = (0..3_usize, any::<bool>(), any::<bool>()).prop_map(|(mode, bare, stack)| Settings {
        session_id: [SessionIdMode::Uuid, SessionIdMode::Any, SessionIdMode::Off][mode],
        bare_slot_strings: bare,
        stack_events: stack || bare,
        ..Settings::default()
    });
    (
        settings,
        prop::collection::vec(1..30_usize, 1..6),
        1..3_usize,
        1..8_u16,
        prop_oneof![Just(0), Just(1 << 20)],
        prop::collection::vec(prop::option::of(0..60_u64), 1..5),
    )
        .prop_map(|(settings, batches, writers, checkpoint_every, cache_bytes, failures)| Plan {
            settings,
            batches,
            writers,
            checkpoint_every,
            cache_bytes,
            failures,
        })
}

/// A decoder of Rasa's bodies with another session rule, as in the formats of other assistants.
#[derive(Clone, Debug)]
pub struct Ruled<R>(pub RasaDecoder, pub R);

impl<R: Fn(&Event<'_>) -> SessionRule + Send + Sync> Decoder for Ruled<R> {
    fn name(&self) -> &'static str {
        "ruled"
    }

    fn decode<'a>(&self, record: &Record<'a>, out: &mut Vec<Event<'a>>) -> Result<(), Refused> {
        let before = out.len();
        self.0.decode(record, out)?;
        out.iter_mut().skip(before).for_each(|event| event.session = (self.1)(event));
        Ok(())
    }

    fn kept(&self, record: &Record<'_>, ordinal: u32) -> Option<Vec<u8>> {
        self.0.kept(record, ordinal)
    }
}

/// Like [`check`], with the session rule `rule` instead of Rasa's.
pub fn check_rule<F: Fixture>(
    fixture: &mut F,
    plan: &Plan,
    rule: impl Fn(&Event<'_>) -> SessionRule + Send + Sync + 'static,
    records: &[OwnedRecord],
    arrival: &[OwnedRecord],
    compare: impl FnOnce(&mut F::Store, Digests, &Oracle) -> Result<(), String>,
) -> Result<(), String>
where
    F::Store: std::fmt::Debug,
{
    let events: Vec<Event<'_>> = records
        .iter()
        .filter_map(|record| crate::decode(&plan.settings, &record.as_record()).ok().flatten())
        .map(|event| Event { session: rule(&event), ..event })
        .collect();
    let expected = crate::tables_of_events(&plan.settings, &events);
    let rules = plan.rules(|settings| Ruled(RasaDecoder::new(settings), rule));
    deliver(fixture, plan, &rules, arrival, &mut |_, _| {}, |store, digests, _| {
        compare(store, digests, &expected)
    })
}

/// Delivers `arrival` to a store of `fixture` as planned, and compares the result with the oracle's
/// for `records`.
///
/// The ledgers must be equal. Kinds of duplicates are compared if the order of arrival is that of
/// `records`. `compare` checks the tables. The error names the differences.
pub fn check<F: Fixture>(
    fixture: &mut F,
    plan: &Plan,
    records: &[OwnedRecord],
    arrival: &[OwnedRecord],
    compare: impl FnOnce(&mut F::Store, Digests, &Oracle) -> Result<(), String>,
) -> Result<(), String>
where
    F::Store: std::fmt::Debug,
{
    let in_order = records == arrival;
    let records: Vec<_> = records.iter().map(OwnedRecord::as_record).collect();
    let expected = crate::tables(&plan.settings, &records);
    let rules = plan.rules(RasaDecoder::new);
    deliver(fixture, plan, &rules, arrival, &mut |_, _| {}, |store, digests, counts| {
        compare(store, digests, &expected)?;
        let ledger = &expected.ledger;
        let kinds = &ledger.duplicates;
        let kind = |kind| if in_order { kind } else { 0 };
        let expected = [
            ledger.records,
            ledger.events,
            kinds.total(),
            ledger.skipped,
            kind(kinds.anonymised),
            kind(kinds.changed),
        ];
        let mut found = [
            counts.records,
            counts.events,
            counts.duplicates,
            counts.skipped,
            counts.anonymised,
            counts.changed,
        ];
        if !in_order {
            found[4..].fill(0);
        }
        let found = found.map(|count| u64::try_from(count).unwrap_or_default());
        if found == expected { Ok(()) } else { Err(format!("ledger {found:?}, expected {expected:?}")) }
    })
}

/// Delivers log objects of Amazon Lex in an order that `seed` chooses, twice, and compares tables
/// and ledger with the oracle's.
pub fn check_lex<F: Fixture>(
    fixture: &mut F,
    plan: &Plan,
    records: &[OwnedRecord],
    seed: u64,
) -> Result<(), String>
where
    F::Store: std::fmt::Debug,
{
    let mut arrival = records.to_vec();
    arrival.extend(records.iter().rev().step_by(3).cloned());
    crate::generate::shuffle(&mut arrival, seed);
    let borrowed: Vec<Record<'_>> = arrival.iter().map(OwnedRecord::as_record).collect();
    let expected = crate::lex::tables(&plan.settings, &borrowed);
    let rules = plan.rules(LexDecoder::new);
    deliver(fixture, plan, &rules, &arrival, &mut |_, _| {}, |_, digests, counts| {
        compare_digests(&digests, &expected)?;
        let ledger = &expected.ledger;
        let rows = expected.tables["rasa_event"].len() as u64;
        let letters: u64 = ledger.dead_letters.values().sum();
        let expected = [ledger.records, ledger.events, ledger.duplicates.total(), letters, rows];
        let found = [
            counts.records,
            counts.events,
            counts.duplicates,
            counts.dead_letters,
            counts.events + counts.parts,
        ];
        let found = found.map(|count| u64::try_from(count).unwrap_or_default());
        if found == expected { Ok(()) } else { Err(format!("ledger {found:?}, expected {expected:?}")) }
    })
}

/// Calls `between` with the number of each batch before it, and with `None` at the end.
pub(crate) fn deliver<F: Fixture>(
    fixture: &mut F,
    plan: &Plan,
    rules: &RowRules,
    arrival: &[OwnedRecord],
    between: &mut dyn FnMut(&mut Driver<'_, F>, Option<usize>),
    compare: impl FnOnce(&mut F::Store, Digests, Counts) -> Result<(), String>,
) -> Result<(), String>
where
    F::Store: std::fmt::Debug,
{
    pollster::block_on(async {
        let mut driver = Driver::new(fixture, rules, plan.writers, plan.cache_bytes).await;
        let mut rest = arrival;
        let mut counts = Counts::default();
        for (number, size) in plan.batches.iter().cycle().enumerate() {
            if rest.is_empty() {
                break;
            }
            between(&mut driver, Some(number));
            let (batch, after) = rest.split_at((*size).clamp(1, rest.len()));
            rest = after;
            let fail_after = plan.failures[number % plan.failures.len()];
            let delivery = Delivery { writer: number, records: batch.iter().collect(), fail_after };
            counts += driver.deliver(&delivery).await.counts;
        }
        between(&mut driver, None);
        let digests = driver.digests().await;
        compare(driver.store(), digests, counts)
    })
}

/// Returns the digests of the oracle's tables, computed like those of stores.
#[must_use]
pub fn digests(oracle: &Oracle) -> Digests {
    let mut digests = Digests::default();
    for table in PUBLIC {
        for row in oracle.tables.get(table.name).into_iter().flatten() {
            digests.add(table, row.iter().map(OwnedValue::as_value));
        }
    }
    digests
}

/// Returns the public tables of a store in memory, in the oracle's form.
#[must_use]
pub fn memory_tables(store: &MemoryStore) -> Tables {
    let value = |(value, column): (&turnmill_sink::OwnedValue, &Column)| match (value, column.ty) {
        (turnmill_sink::OwnedValue::Text(id), ColumnType::Id) => {
            OwnedValue::Id(Uuid::parse_str(id).expect("a UUID in a column of ids"))
        }
        (value, _) => value.as_value().into(),
    };
    let mut tables = Tables::new();
    for table in PUBLIC {
        let rows = store.rows(table.name).into_values();
        let mut rows: Vec<Vec<OwnedValue>> =
            rows.map(|row| row.iter().zip(table.columns).map(value).collect()).collect();
        rows.sort();
        tables.insert(table.name, rows);
    }
    tables
}

/// Compares digests only. The error names the tables that differ.
pub fn compare_digests(found: &Digests, oracle: &Oracle) -> Result<(), String> {
    let expected = digests(oracle);
    let differ: Vec<_> =
        expected.tables.iter().filter(|(name, table)| found.tables[*name] != **table).collect();
    if differ.is_empty() { Ok(()) } else { Err(format!("these tables differ: {differ:?}")) }
}

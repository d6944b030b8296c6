//! The laws with markers: patterns are uploaded, removed and backfilled while records arrive.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    clippy::missing_errors_doc,
    reason = "used in tests only"
)]

use proptest::prelude::*;
use turnmill_formats::rasa::RasaDecoder;
use turnmill_ingest::testkit::{Driver, Fixture};
use turnmill_ingest::{Ingest, RowRules};
use turnmill_markers::{MarkerSet, SourceFile};
use turnmill_model::Micros;
use turnmill_sink::digest::Digests;
use turnmill_sink::{Class, PatternSet, Store as _, StoreError, Upkeep};

use crate::generate::OwnedRecord;
use crate::laws::{Plan, deliver};
use crate::{Oracle, Pattern};

/// A change of the patterns.
#[derive(Clone, Debug)]
pub struct Upload {
    /// It happens before this batch; after the last one if there are fewer.
    pub before_batch: usize,
    /// The event whose time it has, and how many microseconds it is off.
    pub at: (prop::sample::Index, i64),
    /// What is done.
    pub change: Change,
    /// Whether rows are made up for at once, or only in the end.
    pub sweep: bool,
}

/// What an [`Upload`] does.
#[derive(Clone, Debug)]
pub enum Change {
    /// These markers, by name, take the place of all others.
    Upload(Vec<(String, String)>),
    /// One of the active patterns is removed.
    Remove(prop::sample::Index),
    /// The active patterns hold for all history.
    Backfill,
}

/// Any condition, as JSON, over names that generated conversations have.
pub fn configs() -> impl Strategy<Value = String> {
    let condition =
        prop_oneof![
            prop::sample::select(vec!["action_listen", "utter_greet", "action_session_start", "nothing"])
                .prop_flat_map(|name| prop::sample::select(vec!["action", "not_action"])
                    .prop_map(move |tag| format!(r#"{{"{tag}":"{name}"}}"#))),
            prop::sample::select(vec!["greet", "EXTERNAL_due"])
                .prop_flat_map(|name| prop::sample::select(vec!["intent", "not_intent"])
                    .prop_map(move |tag| format!(r#"{{"{tag}":"{name}"}}"#))),
            prop::sample::select(vec!["size", "session_started_metadata", "requested_slot", "email"])
                .prop_flat_map(|name| prop::sample::select(vec!["slot_was_set", "slot_was_not_set"])
                    .prop_map(move |tag| format!(r#"{{"{tag}":"{name}"}}"#))),
        ];
    condition.prop_recursive(3, 8, 3, |inner| {
        let many = (
            prop::sample::select(vec!["and", "or", "seq", "at_least_one_not"]),
            prop::collection::vec(inner.clone(), 1..4),
        )
            .prop_map(|(tag, subs)| format!(r#"{{"{tag}":[{}]}}"#, subs.join(",")));
        let one = (prop::sample::select(vec!["not", "at_least_once", "never"]), inner)
            .prop_map(|(tag, sub)| format!(r#"{{"{tag}":[{sub}]}}"#));
        prop_oneof![many, one]
    })
}

/// Any changes of the patterns.
pub fn uploads() -> impl Strategy<Value = Vec<Upload>> {
    let markers = prop::collection::btree_map(
        prop::sample::select(vec!["one", "two", "three"]).prop_map(str::to_owned),
        configs(),
        0..4,
    )
    .prop_map(|markers| Change::Upload(markers.into_iter().collect()));
    let change = prop_oneof![
        4 => markers,
        1 => any::<prop::sample::Index>().prop_map(Change::Remove),
        1 => Just(Change::Backfill),
    ];
    let upload = (0..12_usize, any::<prop::sample::Index>(), -1..2_i64, change, any::<bool>()).prop_map(
        |(before_batch, event, off, change, sweep)| Upload { before_batch, at: (event, off), change, sweep },
    );
    prop::collection::vec(upload, 1..5).prop_map(|mut uploads| {
        uploads.sort_by_key(|upload| upload.before_batch);
        uploads
    })
}

/// Reads markers as a file would be read.
#[must_use]
pub fn markers(markers: &[(String, String)]) -> MarkerSet {
    let fields: Vec<String> = markers.iter().map(|(name, config)| format!(r#""{name}":{config}"#)).collect();
    let text = format!("{{{}}}", fields.join(","));
    let file = SourceFile::new("generated.json", text.into_bytes());
    MarkerSet::parse(&[file]).unwrap_or_else(|errors| panic!("{errors:?}")).0
}

/// Delivers `arrival` as planned, with `uploads` in between, and compares the digests with what the oracle makes of `records`
/// and of the patterns in the end.
pub fn check_uploads<F: Fixture>(
    fixture: &mut F,
    plan: &Plan,
    uploads: &[Upload],
    records: &[OwnedRecord],
    arrival: &[OwnedRecord],
    compare: impl FnOnce(&mut F::Store, Digests, &Oracle) -> Result<(), String>,
) -> Result<(), String>
where
    F::Store: std::fmt::Debug + Upkeep,
{
    let settings = &plan.settings;
    let borrowed: Vec<_> = records.iter().map(OwnedRecord::as_record).collect();
    let mut times: Vec<i64> = borrowed
        .iter()
        .filter_map(|record| Some(crate::decode(settings, record).ok()??.time.micros()))
        .collect();
    times.sort_unstable();
    let rules = plan.rules(RasaDecoder::new);
    let mut next = 0;
    let mut between = |driver: &mut Driver<'_, F>, batch: Option<usize>| {
        let due = |upload: &&Upload| batch.is_none_or(|batch| upload.before_batch <= batch);
        while let Some(upload) = uploads.get(next).filter(due) {
            next += 1;
            let at = Micros(if times.is_empty() { 0 } else { *upload.at.0.get(&times) } + upload.at.1);
            pollster::block_on(apply(driver.store(), &upload.change, at));
            if upload.sweep {
                pollster::block_on(sweep(driver.store(), &rules));
            }
        }
        if batch.is_none() {
            pollster::block_on(sweep(driver.store(), &rules));
        }
    };
    deliver(fixture, plan, &rules, arrival, &mut between, |store, digests, _| {
        let set = pollster::block_on(store.patterns()).unwrap();
        let expected = crate::tables_with(settings, &of_set(&set), &borrowed);
        compare(store, digests, &expected)
    })
}

/// The patterns as the oracle takes them.
#[must_use]
pub fn of_set(set: &PatternSet) -> Vec<Pattern> {
    let pattern = |stored: &turnmill_sink::StoredPattern| Pattern {
        id: stored.id,
        name: stored.name.clone(),
        description: stored.description.clone(),
        config: stored.config.clone(),
        is_active: stored.is_active,
        from: stored.effective_from(),
        until: stored.effective_until(),
    };
    set.patterns.iter().map(pattern).collect()
}

async fn apply<S: Upkeep>(store: &mut S, change: &Change, at: Micros) {
    let set = store.patterns().await.unwrap();
    let next = match change {
        Change::Upload(uploaded) => {
            let has_events = !store.senders(None, 1).await.unwrap().is_empty();
            set.upload(&markers(uploaded), at, has_events)
        }
        Change::Remove(index) => {
            let active: Vec<_> = set.active().map(|pattern| pattern.id).collect();
            if active.is_empty() { None } else { set.remove(*index.get(&active), at) }
        }
        Change::Backfill => set.backfill(&set.active().map(|pattern| pattern.id).collect::<Vec<_>>()),
    };
    if let Some(next) = next {
        store.write_patterns(set.revision, &next).await.unwrap();
        let stale = store.write_patterns(set.revision, &next).await.map_err(|error| error.class());
        assert_eq!(stale, Err(Class::Fenced), "the patterns have moved on");
        assert_eq!(store.patterns().await.unwrap(), next);
    }
}

async fn sweep<S: Upkeep>(store: &mut S, rules: &RowRules) {
    let mut ingest = Ingest::new(rules, 0);
    let mut after = None;
    let result: Result<(), StoreError> = async {
        loop {
            let senders = store.senders(after, 2).await?;
            let Some(last) = senders.last() else { return Ok(()) };
            after = Some(*last);
            ingest.catch_up(store, &senders).await?;
            assert_eq!(ingest.catch_up(store, &senders).await?, 0, "nothing is owed any more");
        }
    }
    .await;
    result.unwrap_or_else(|error| panic!("{error}"));
}

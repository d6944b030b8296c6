//! Every metric with numbers under every filter, alone and in pairs, in three time zones, by plain
//! loops over the rows: see [`naive`](super::naive).

use turnmill_analytics::{
    Answer, Bucket, Business, BusinessLine, Cohort, Compare, During, Ending, Examples, METRICS, Metric, Over,
    Question, ReadQueries, Span, When, Zone, answer, parse_time,
};

use super::naive::{Number, Store};
use super::{CLOSE, LIMIT, PARCEL, assert_none, loaded};

pub(crate) const VARIED: &str = include_str!("varied.sql");
/// Metrics of each counted kind, for pairs of filters.
const SHORT: [&str; 10] = [
    "R2_users",
    "R3_sessions",
    "R6_top_intents",
    "R7_response_time",
    "R8_containment",
    "R9_abandonment",
    "X2_messages",
    "X24_fallback",
    "L2_sessions",
    "LN6_concurrency",
];

fn at(text: &str) -> Option<turnmill_model::Micros> {
    Some(parse_time(text, Zone::default()).unwrap())
}

/// Returns a question in which every definition is set.
fn question() -> Question {
    let mut question = Question::default();
    question.definitions.goal_markers = vec!["goal_*".into()];
    question.definitions.escalation_markers = vec!["upset".into()];
    question.definitions.low_confidence = 0.8;
    question.definitions.published_abandon_responses = vec!["utter_greet".into(), "utter_goodbye".into()];
    question.text = Some("PA".into());
    question.examples = Examples::default();
    question.examples.add_training_data("nlu:\n- intent: a\n  examples: |\n    - Order a pizza\n    - yes\n");
    question.business = Business {
        agent_minutes: Some(6.5),
        agent_minute_cost: Some(0.8),
        session_cost: Some(0.05),
        lines: vec!["issues=report_*".parse::<BusinessLine>().unwrap()],
        rating_slot: Some("stars".into()),
    };
    question
}

/// A filter with its name.
type Filter = (&'static str, fn(&mut Question, &Store));

const FILTERS: [Filter; 13] = [
    ("channel", |question, _| question.filters.channels = vec![Some("rest".into()), None]),
    ("assistant", |question, _| question.filters.assistants = vec![Some("parcels".into())]),
    ("environment", |question, _| question.filters.environments = vec![None, Some("staging".into())]),
    ("model", |question, _| question.filters.models = vec![Some("m1".into())]),
    ("intent", |question, _| {
        question.filters.intents = vec![Some("inform".into()), Some("nlu_fallback".into())];
    }),
    ("ending", |question, _| question.filters.endings = vec![Ending::Finished, Ending::Abandoned]),
    ("marker", |question, _| question.filters.markers = vec!["refund".into(), "upset".into()]),
    ("locale", |question, _| question.filters.locales = vec![Some("en".into()), None]),
    ("source", |question, _| question.filters.source_systems = vec![Some("rasa".into())]),
    ("cohort", |question, store| {
        let senders = store.cohort();
        question.filters.cohorts = vec![Cohort { name: "third".into(), senders }];
    }),
    ("tests", |question, _| question.filters.exclude_tests = true),
    ("range", |question, _| {
        let span = Span { from: at("2026-11-21 01:45:40Z"), to: at("2026-11-21 01:46:30Z") };
        question.when = When::Span(span);
    }),
    ("during", |question, _| {
        question.when = When::Span(Span { from: at("2026-11-21 01:46:00Z"), to: at("2026-11-21 01:46:20Z") });
        question.filters.during = During::Active;
    }),
];

fn span(question: &Question) -> Span {
    match question.when {
        When::Span(span) => span,
        When::Last(_) => panic!("no test has one"),
    }
}

fn is_close(found: Number, expected: Number) -> bool {
    let close = match (found.value, expected.value) {
        (Some(found), Some(expected)) => (found - expected).abs() <= CLOSE * expected.abs().max(1e-3),
        (found, expected) => found == expected,
    };
    // A mean is made of a float, which the answers do not show.
    close && (found.parts == expected.parts || expected.parts.is_none() || found.parts.is_none())
}

/// Compares the numbers of answers with those of the evaluation. Returns how many there were.
fn compare(
    name: &str,
    store: &Store,
    question: &Question,
    answers: &[Answer],
    out: &mut Vec<String>,
) -> usize {
    let expected = store.numbers(question, span(question));
    let mut compared = 0;
    for answer in answers {
        for value in &answer.values {
            let Some(expected) = expected.get(&(answer.metric.id, value.name)) else { continue };
            compared += 1;
            if !is_close(value.measure.into(), *expected) {
                let found = value.measure;
                out.push(format!(
                    "{name} {} {}: {expected:?} expected, {found:?} found",
                    answer.metric.id, value.name
                ));
            }
        }
    }
    compared
}

/// Compares each bucket of the series with the evaluation over its range.
fn compare_series(name: &str, store: &Store, question: &Question, answers: &[Answer], out: &mut Vec<String>) {
    let series =
        || answers.iter().flat_map(|answer| answer.series.iter().map(move |series| (answer, series)));
    let longest = series().map(|(_, series)| series.points.len()).max().unwrap_or(0);
    assert!(longest > 1, "{name}");
    for number in 0..longest {
        let mut expected = None;
        for (answer, series) in series().filter(|(_, series)| series.group.is_none()) {
            let (range, found) = series.points[number];
            let span = Span { from: Some(range.from), to: Some(range.to) };
            let expected = expected.get_or_insert_with(|| store.numbers(question, span));
            let Some(expected) = expected.get(&(answer.metric.id, series.name)) else { continue };
            if !is_close(found.into(), *expected) {
                let (id, from) = (answer.metric.id, range.from);
                out.push(format!(
                    "{name} {id} {} at {from}: {expected:?} expected, {found:?} found",
                    series.name
                ));
            }
        }
    }
}

/// Asks everything of a store that holds the same rows.
async fn check<S: ReadQueries>(reader: &mut S, store: &Store) -> Vec<String>
where
    S::Error: std::fmt::Debug,
{
    let mut out = Vec::new();
    let known = store.numbers(&question(), Span::default());
    let is_known = |metric: &&&'static Metric| known.keys().any(|(id, _)| *id == metric.id);
    let all: Vec<&'static Metric> = METRICS.iter().filter(is_known).copied().collect();
    let short: Vec<&'static Metric> =
        METRICS.iter().filter(|metric| SHORT.contains(&metric.id)).copied().collect();

    // No filter, then each alone: every number of the evaluation is one of an answer.
    let answers = answer(reader, &all, &question()).await.unwrap();
    assert_eq!(compare("all", store, &question(), &answers, &mut out), known.len());
    for (name, set) in FILTERS {
        let mut question = question();
        set(&mut question, store);
        let filtered = store.numbers(&question, span(&question));
        for key in [("R3_sessions", "sessions"), ("R6_top_intents", "messages")] {
            let (all, some) = (known[&key].value, filtered[&key].value);
            assert!(some > Some(0.0) && some < all, "{name} keeps {some:?} of {all:?} {key:?}");
        }
        let answers = answer(reader, &all, &question).await.unwrap();
        compare(name, store, &question, &answers, &mut out);
    }
    for (number, (one, set_one)) in FILTERS.iter().enumerate() {
        for (other, set_other) in &FILTERS[number + 1..] {
            let mut question = question();
            set_one(&mut question, store);
            set_other(&mut question, store);
            let answers = answer(reader, &short, &question).await.unwrap();
            compare(&format!("{one} and {other}"), store, &question, &answers, &mut out);
        }
    }
    // New York changes its clocks in November, Kathmandu is a quarter of an hour off.
    for (zone, bucket) in
        [("UTC", Bucket::TwoHours), ("America/New_York", Bucket::Day), ("Asia/Kathmandu", Bucket::SixHours)]
    {
        for (name, set) in [FILTERS[0], FILTERS[5], FILTERS[12]] {
            let mut question = question();
            set(&mut question, store);
            if name != "during" {
                question.when = When::default();
            } else {
                question.when = When::Span(Span { from: at("2026-11-20 22:00:00Z"), to: None });
            }
            question.zone = zone.parse().unwrap();
            question.over = Over::Buckets(bucket);
            let answers = answer(reader, &all, &question).await.unwrap();
            compare_series(&format!("{name} in {zone}"), store, &question, &answers, &mut out);
        }
    }
    // The number compared with is that of the other models, or of the earlier period.
    let mut against = question();
    against.filters.models = vec![Some("m2".into())];
    let was = Question {
        filters: turnmill_analytics::Filters { models: vec![Some("m1".into()), None], ..Default::default() },
        ..question()
    };
    against.against_models.clone_from(&was.filters.models);
    let mut earlier = question();
    FILTERS[11].1(&mut earlier, store);
    earlier.compare = Some(Compare::Previous);
    let mut before = question();
    let Span { from: Some(from), to: Some(to) } = span(&earlier) else { panic!("the range is open") };
    let start = turnmill_model::Micros(from.0 - (to.0 - from.0));
    before.when = When::Span(Span { from: Some(start), to: Some(from) });
    for (name, asked, other) in [("against a model", against, was), ("against before", earlier, before)] {
        let expected = store.numbers(&other, span(&other));
        for answer in answer(reader, &all, &asked).await.unwrap() {
            for value in &answer.values {
                let Some(expected) = expected.get(&(answer.metric.id, value.name)) else { continue };
                let found = value.compared.map(|compared| compared.0);
                if !found.is_some_and(|found| is_close(found.into(), *expected)) {
                    let (id, value) = (answer.metric.id, value.name);
                    out.push(format!("{name} {id} {value}: {expected:?} expected, {found:?} found"));
                }
            }
        }
    }
    out
}

#[test]
fn sqlite_has_the_numbers_of_plain_loops_under_every_filter() {
    let folder = tempfile::tempdir().unwrap();
    let store = loaded(folder.path(), PARCEL);
    let path = store.path().unwrap().to_owned();
    rusqlite::Connection::open(&path).unwrap().execute_batch(VARIED).unwrap();
    let mut reader = store.reader(LIMIT).unwrap();
    assert_none(&pollster::block_on(check(&mut reader, &Store::read(&path))));
}

#[cfg(feature = "postgres")]
#[test]
fn postgres_has_the_numbers_of_plain_loops_under_every_filter() {
    use turnmill_embed::Loader;
    use turnmill_embed::postgres::{PostgresSettings, PostgresStore};
    let Some(url) = turnmill_testbed::postgres::database() else { return };
    // The rows are read from SQLite, which holds the same.
    let folder = tempfile::tempdir().unwrap();
    let store = loaded(folder.path(), PARCEL);
    let path = store.path().unwrap().to_owned();
    rusqlite::Connection::open(&path).unwrap().execute_batch(VARIED).unwrap();
    let settings: PostgresSettings = url.parse().unwrap();
    Loader::new(PostgresStore::new(settings.clone())).load_file(super::fixture(PARCEL)).unwrap();
    turnmill_testbed::postgres::shared().unwrap().execute(&url, VARIED);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let differences = runtime.block_on(async {
        let mut reader = PostgresStore::new(settings).reader(LIMIT);
        check(&mut reader, &Store::read(&path)).await
    });
    assert_none(&differences);
}

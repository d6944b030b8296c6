//! Paths of intents through sessions.

use std::collections::{BTreeMap, BTreeSet};

use crate::answer::Table;
use crate::draft::Rows;
use crate::measure::Measure;
use crate::metric::{Chart, Counted, Metric, Source, Unit, count};
use crate::paths::{MOST_PATH_STEPS, PathOptions};
use crate::scope::Scope;
use crate::value::{Query, Row, Value};
use crate::view::View;

/// Intents shown at each step; the rest is `Other`.
const SHOWN: usize = 6;

pub(crate) static PATHS: Metric = Metric {
    id: "L19_paths",
    title: "Conversation path",
    definition: "Intents of sessions in order, equal neighbours merged. Unrolled by step: the six \
                 most frequent intents of each of the first four steps, the rest Other, End after a \
                 shorter path. Beside it the transitions between intents wherever they are, without \
                 messages that have no intent, the share of each intent among their targets, and the \
                 most frequent whole paths, which have at most eight intents. Paths can be those that \
                 begin or end with a name, be unrolled to more steps, or be made of the dialogs that \
                 are done. Excluded names are left out of transitions and of dialogs.",
    unit: Unit::Count,
    charts: &[Chart::Sankey, Chart::Table],
    counted: Counted::Sessions,
    sources: Source::ALL,
    figures: &[count("sessions", "sessions with an intent")],
    split: None,
    plan: |scope| {
        if scope.paths.completed {
            return vec![runs(scope)];
        }
        let mut draft = scope.draft();
        let Rows { slice, from, kept } = draft.sessions();
        let paths = draft.per_slice(
            "paths",
            &format!(
                "SELECT {slice}, s.intent_path, count(*)\nFROM {from}\nWHERE {kept}\n\
                 AND s.first_intent IS NOT NULL\nGROUP BY 1, 2"
            ),
        );
        let mut draft = scope.draft();
        let Rows { from, kept, .. } = draft.sessions();
        let excluded = match scope.exclude.is_empty() {
            true => String::new(),
            false => format!(" AND t.intent NOT IN {}", draft.list(&scope.exclude)),
        };
        let transitions = draft.once("transitions", &format!(
                "SELECT before, intent, count(*) FROM (\n\
                 SELECT lag(t.intent) OVER (PARTITION BY t.session_id ORDER BY t.asked_at, t.turn_id) AS before,\n\
                 t.intent\nFROM {from}\nJOIN ext_turn t ON t.session_id = s.session_id\nWHERE {kept}\n\
                 AND t.intent IS NOT NULL{excluded}) q\nWHERE before IS NULL OR before <> intent\nGROUP BY 1, 2"
            ),
        );
        vec![paths, transitions.for_lists(["transitions", "nodes"])]
    },
    values: |scope, view| {
        // Dialogs are of the whole range.
        if scope.paths.completed && view.range().is_some() {
            return Vec::new();
        }
        vec![Measure::Count(paths(scope, view).iter().map(|(_, count)| count).sum())]
    },
    tables: |scope, view| {
        let paths = paths(scope, view);
        let mut frequent: Vec<(String, i64)> =
            paths.iter().map(|(path, count)| (path.join(" > "), *count)).collect();
        frequent.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        let frequent = frequent.into_iter().take(scope.top);
        let moves = moves(scope, view, &paths);
        vec![
            links(&paths, scope.paths.steps.clamp(1, MOST_PATH_STEPS)),
            transitions(&moves),
            nodes(&moves),
            Table {
                name: "most_frequent",
                columns: vec!["path", "sessions"],
                rows: frequent.map(|(path, count)| vec![Value::Text(path), count.into()]).collect(),
            },
        ]
    },
};

/// Returns the dialogs that are done, in the order in which they end.
fn runs(scope: &Scope) -> Query {
    let mut draft = scope.draft();
    let Rows { slice, from, kept } = draft.sessions();
    let excluded = match scope.exclude.is_empty() {
        true => String::new(),
        false => format!(" AND r.dialog_id NOT IN {}", draft.list(&scope.exclude)),
    };
    draft.once(
        "runs",
        &format!(
            "SELECT {slice}, s.session_id, r.dialog_id\nFROM {from}\n\
             JOIN ext_dialog_run r ON r.session_id = s.session_id\nWHERE {kept}\n\
             AND r.status = 'done' AND r.kind IN ('flow', 'skill', 'waterfall', 'adaptive', 'topic', \
             'lex_intent'){excluded}\nORDER BY s.session_id, r.ended_at, r.id"
        ),
    )
}

/// Returns the paths with their number of sessions: those that begin and end as asked.
fn paths(scope: &Scope, view: &View<'_>) -> Vec<(Vec<String>, i64)> {
    let mut paths: Vec<(Vec<String>, i64)> = if scope.paths.completed {
        let by_session = view.all("runs").chunk_by(|one, other| one.get(1) == other.get(1));
        let read = |rows: &[Row]| {
            let name = |row: &Row| Some(row.get(2)?.text()?.to_owned());
            let mut path: Vec<String> = rows.iter().filter_map(name).collect();
            path.dedup();
            (path, 1)
        };
        by_session.map(read).collect()
    } else {
        let read = |row: &Row| {
            let path = serde_json::from_str(row.get(1)?.text()?).ok()?;
            Some((path, row.get(2)?.integer()))
        };
        view.rows("paths").iter().filter_map(read).collect()
    };
    let is = |wanted: &Option<String>, name: Option<&String>| wanted.is_none() || wanted.as_ref() == name;
    let PathOptions { start, end, .. } = &scope.paths;
    paths.retain(|(path, _)| is(start, path.first()) && is(end, path.last()));
    paths
}

/// Returns the moves from one name to the next with their number, the first from `START`: of all
/// intents of the sessions, or of these paths if they are chosen or made of dialogs.
fn moves(scope: &Scope, view: &View<'_>, paths: &[(Vec<String>, i64)]) -> Vec<(String, String, i64)> {
    let PathOptions { start, end, completed, .. } = &scope.paths;
    let mut moves: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    if *completed || start.is_some() || end.is_some() {
        for (path, count) in paths {
            let mut before = "START";
            for name in path {
                *moves.entry((before, name)).or_default() += count;
                before = name;
            }
        }
    } else {
        for row in view.all("transitions") {
            let from = row.first().and_then(Value::text).unwrap_or("START");
            if let Some(to) = row.get(1).and_then(Value::text) {
                *moves.entry((from, to)).or_default() += row.get(2).map_or(0, Value::integer);
            }
        }
    }
    moves.into_iter().map(|((from, to), count)| (from.to_owned(), to.to_owned(), count)).collect()
}

/// Returns the links from each step to the next.
fn links(paths: &[(Vec<String>, i64)], steps: usize) -> Table {
    let shown: Vec<BTreeSet<&str>> = (0..steps).map(|step| most_frequent(paths, step)).collect();
    let mut links: BTreeMap<(usize, &str, &str), i64> = BTreeMap::new();
    for (path, count) in paths {
        let mut before = "START";
        for (step, shown) in shown.iter().enumerate() {
            let node = match path.get(step) {
                Some(intent) if shown.contains(intent.as_str()) => intent,
                Some(_) => "Other",
                None => "End",
            };
            *links.entry((step, before, node)).or_default() += count;
            if node == "End" {
                break;
            }
            before = node;
        }
    }
    let row = |((step, from, to), count): ((usize, &str, &str), i64)| {
        let step = i64::try_from(step).unwrap_or(i64::MAX);
        vec![step.into(), from.into(), to.into(), count.into()]
    };
    Table {
        name: "links",
        columns: vec!["step", "from", "to", "sessions"],
        rows: links.into_iter().map(row).collect(),
    }
}

/// Returns the most frequent intents of a step.
fn most_frequent(paths: &[(Vec<String>, i64)], step: usize) -> BTreeSet<&str> {
    let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
    for (path, count) in paths {
        if let Some(intent) = path.get(step) {
            *counts.entry(intent).or_default() += count;
        }
    }
    let mut counts: Vec<(&str, i64)> = counts.into_iter().collect();
    // Stable: intents of equal counts stay in the order of their names.
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts.into_iter().take(SHOWN).map(|(intent, _)| intent).collect()
}

/// Returns the transitions between intents. A link back leads to an intent that a shorter way from
/// the start reaches no later.
fn transitions(moves: &[(String, String, i64)]) -> Table {
    let mut links: Vec<(&str, &str, i64)> =
        moves.iter().map(|(from, to, count)| (from.as_str(), to.as_str(), *count)).collect();
    links.sort_by(|one, other| other.2.cmp(&one.2).then_with(|| (one.0, one.1).cmp(&(other.0, other.1))));
    let depth = depths(&links);
    let is_back = |from: &str, to: &str| {
        let of = |node: &str| depth.get(node).copied().unwrap_or(usize::MAX);
        from != "START" && of(to) <= of(from)
    };
    let total: i64 = links.iter().map(|(_, _, count)| count).sum();
    let row = |(from, to, count): &(&str, &str, i64)| {
        vec![
            Value::from(*from),
            Value::from(*to),
            Value::from(*count),
            Measure::share(*count, total).value().into(),
            Value::Boolean(is_back(from, to)),
        ]
    };
    Table {
        name: "transitions",
        columns: vec!["from", "to", "transitions", "share", "back"],
        rows: links.iter().map(row).collect(),
    }
}

/// Returns how often each intent is the target of a transition, and its share of all transitions.
fn nodes(moves: &[(String, String, i64)]) -> Table {
    let mut nodes: BTreeMap<&str, i64> = BTreeMap::new();
    for (_, to, count) in moves {
        *nodes.entry(to).or_default() += count;
    }
    let total: i64 = nodes.values().sum();
    let mut nodes: Vec<(&str, i64)> = nodes.into_iter().collect();
    // Stable: intents of equal counts stay in the order of their names.
    nodes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let row = |(intent, count): (&str, i64)| {
        vec![intent.into(), count.into(), Measure::share(count, total).value().into()]
    };
    Table {
        name: "nodes",
        columns: vec!["intent", "reached", "share"],
        rows: nodes.into_iter().map(row).collect(),
    }
}

/// Returns the fewest steps from the start to each intent.
fn depths<'l>(links: &[(&'l str, &'l str, i64)]) -> BTreeMap<&'l str, usize> {
    let mut depths = BTreeMap::from([("START", 0)]);
    let mut front = vec!["START"];
    let mut depth = 0;
    while !front.is_empty() {
        depth += 1;
        let mut next = Vec::new();
        for (from, to, _) in links {
            if front.contains(from) && !depths.contains_key(to) {
                depths.insert(*to, depth);
                next.push(*to);
            }
        }
        front = next;
    }
    depths
}

//! Tests of the metrics of assistants with flows: frequent flows, escalation, resolution,
//! interruption, resumption, funnels.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;
use std::time::SystemTime;

use postgres::{Client, NoTls};
use serde_json::Value;

use super::stream::{DAY, conversations};
use super::{Cell, Loaded, Session, answer, nulls_last, per_month, seconds, sessions, time};

const TOP_FLOWS: &str = r#"
    SELECT flow_identifier, count(DISTINCT session_id) AS count
    FROM rasa_flow_status
    WHERE inserted_at >= (now() AT TIME ZONE 'UTC') - INTERVAL '7 days' AND flow_identifier NOT LIKE 'pattern_%'
    GROUP BY flow_identifier
    ORDER BY count DESC, flow_identifier COLLATE "C"
    LIMIT 5"#;
const TOP_FLOWS_COLUMNS: [(&str, &str); 2] = [("flow_identifier", "varchar"), ("count", "int8")];

// Identifiers without quotes are lower case, however they are written.
const ESCALATION: &str = "
    SELECT STARTED AS TIMESTAMP, 100.0 * SUM(HANDOFFS) / COUNT(*) AS ESCALATION_RATE
    FROM (
        SELECT SESSION_ID, DATE_TRUNC('month', INSERTED_AT) AS STARTED,
               COUNT(CASE COMMAND WHEN 'human handoff' THEN USER_MESSAGE_ID END) AS HANDOFFS
        FROM PUBLIC.RASA_LLM_COMMAND
        GROUP BY SESSION_ID, DATE_TRUNC('month', INSERTED_AT)
    ) AS SAID
    GROUP BY STARTED ORDER BY STARTED";
const ESCALATION_COLUMNS: [(&str, &str); 2] = [("timestamp", "timestamp"), ("escalation_rate", "numeric")];

/// Rates of flows: the column, the flow, and two statuses, the first as a percentage of the second.
const RATES: [(&str, &str, &str, &str); 3] = [
    ("resolution_rate_percentage", "transfer_money", "completed", "started"),
    // The published query has this name, although the rate is of interruptions.
    ("resumption_rate_percentage", "setup_recurrent_payment", "interrupted", "started"),
    ("resumption_rate_percentage", "book_restaurant", "resumed", "interrupted"),
];

fn rate(column: &str, flow: &str, part: &str, whole: &str) -> String {
    format!(
        "WITH part AS (
             SELECT COUNT(DISTINCT SESSION_ID) AS n FROM rasa_flow_status
             WHERE FLOW_IDENTIFIER = '{flow}' AND FLOW_STATUS = '{part}'
         ), whole AS (
             SELECT COUNT(DISTINCT SESSION_ID) AS n FROM rasa_flow_status
             WHERE FLOW_IDENTIFIER = '{flow}' AND FLOW_STATUS = '{whole}'
         )
         SELECT part.n * 100 / NULLIF(whole.n, 0) AS {column} FROM part, whole"
    )
}

const STEPS: &str = r#"
    SELECT frame.flow_step_id, count(DISTINCT frame.session_id) AS session_count
    FROM "rasa_dialogue_stack_frame" AS frame JOIN "rasa_flow_status" AS status ON status.session_id = frame.session_id
    WHERE frame.active_flow_identifier = 'setup_recurrent_payment'
        AND status.flow_status NOT IN ('cancelled', 'completed')
    GROUP BY frame.flow_step_id
    ORDER BY frame.flow_step_id COLLATE "C" ASC"#;
const STEPS_COLUMNS: [(&str, &str); 2] = [("flow_step_id", "varchar"), ("session_count", "int8")];

const LINKED: &str = "
    SELECT
        (SELECT count(DISTINCT session_id) FROM rasa_dialogue_stack_frame
            WHERE active_flow_identifier = 'replace_card') AS replace_card_starts,
        (SELECT count(DISTINCT session_id) FROM rasa_dialogue_stack_frame
            WHERE active_flow_identifier = 'replace_eligible_card') AS replace_eligible_card_starts";
const LINKED_COLUMNS: [(&str, &str); 2] =
    [("replace_card_starts", "int8"), ("replace_eligible_card_starts", "int8")];

/// Results of the queries without any flow or command.
#[track_caller]
pub(super) fn check_without_flows(loaded: &Loaded) {
    loaded.check(TOP_FLOWS, &TOP_FLOWS_COLUMNS, &[]);
    loaded.check(ESCALATION, &ESCALATION_COLUMNS, &[]);
    for (column, flow, part, whole) in RATES {
        loaded.check(&rate(column, flow, part, whole), &[(column, "int8")], &[vec![Cell::Null]]);
    }
    loaded.check(STEPS, &STEPS_COLUMNS, &[]);
    loaded.check(LINKED, &LINKED_COLUMNS, &[vec![0.into(), 0.into()]]);
}

fn bank() -> Option<&'static Loaded> {
    static LOADED: OnceLock<Option<Loaded>> = OnceLock::new();
    LOADED.get_or_init(|| Loaded::new(conversations(now()))).as_ref()
}

fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64()
}

/// Returns the flow and the status of a flow event.
fn status(event: &Value) -> Option<(&str, &str)> {
    let status = event["event"].as_str()?.strip_prefix("flow_")?;
    Some((event["flow_id"].as_str()?, status))
}

/// Returns the flow and the step on top of the stack after each `stack` event, if there is a flow.
fn tops(session: &Session<'_>) -> Vec<(String, Option<String>)> {
    let mut stack: Vec<Value> = Vec::new();
    let mut tops = Vec::new();
    for event in session.of("stack") {
        let patch: Vec<Value> = serde_json::from_str(event["update"].as_str().unwrap()).unwrap();
        for operation in &patch {
            let mut path = operation["path"].as_str().unwrap().split('/').skip(1);
            let at: usize = path.next().unwrap().parse().unwrap();
            match (operation["op"].as_str().unwrap(), path.next()) {
                ("add", Some(key)) => stack[at][key] = operation["value"].clone(),
                ("add", None) => stack.insert(at, operation["value"].clone()),
                ("remove", None) => drop(stack.remove(at)),
                other => panic!("{other:?}"),
            }
        }
        if let Some(frame) = stack.last() {
            tops.push((
                frame["flow_id"].as_str().unwrap().to_owned(),
                frame["step_id"].as_str().map(str::to_owned),
            ));
        }
    }
    tops
}

/// Returns the five most frequent flows with a status since `from`, with their sessions.
fn top_flows(events: &[Value], from: f64) -> Vec<(String, i64)> {
    let mut flows: BTreeMap<&str, i64> = BTreeMap::new();
    for session in sessions(events) {
        let recent = session.events.iter().filter(|event| seconds(event) >= from);
        let in_session: BTreeSet<&str> = recent.filter_map(|event| Some(status(event)?.0)).collect();
        for flow in in_session {
            *flows.entry(flow).or_default() += 1;
        }
    }
    flows.retain(|flow, _| !(flow.starts_with("pattern") && flow.len() > "pattern".len()));
    let mut flows: Vec<_> = flows.into_iter().map(|(flow, count)| (flow.to_owned(), count)).collect();
    flows.sort_by_key(|(flow, count)| (-count, flow.clone()));
    flows.truncate(5);
    flows
}

#[test]
fn frequent_flows_of_the_last_seven_days() {
    let Some(bank) = bank() else { return };
    let week_ago = now() - 7.0 * DAY;
    let flows = top_flows(&bank.events, week_ago);
    assert_eq!(flows.len(), 5);
    for hours in [-12.0, 14.0] {
        assert_ne!(flows, top_flows(&bank.events, week_ago + hours * 3600.0), "a time zone would show");
    }
    let patterns = bank.events.iter().filter(|event| event["flow_id"] == "pattern_clarification");
    assert!(patterns.filter(|event| seconds(event) > week_ago).count() > 5);
    let expected: Vec<Vec<Cell>> =
        flows.iter().map(|(flow, count)| vec![Some(flow.as_str()).into(), (*count).into()]).collect();

    bank.check(TOP_FLOWS, &TOP_FLOWS_COLUMNS, &expected);
}

#[test]
fn escalation_by_command() {
    let Some(bank) = bank() else { return };
    let rates = per_month(&sessions(&bank.events), |event| {
        let commands = event["parse_data"]["commands"].as_array().filter(|commands| !commands.is_empty())?;
        let handoffs = commands.iter().filter(|command| command["command"] == "human handoff").count();
        Some(i64::try_from(handoffs).unwrap())
    });
    assert!(
        rates.len() > 4 && rates.values().filter(|rate| (0.1..0.9).contains(*rate)).count() > 2,
        "{rates:?}"
    );
    let expected: Vec<Vec<Cell>> =
        rates.into_iter().map(|(month, rate)| vec![month.into(), (100.0 * rate).into()]).collect();

    bank.check(ESCALATION, &ESCALATION_COLUMNS, &expected);
}

#[test]
fn resolution_interruption_and_resumption() {
    let Some(bank) = bank() else { return };
    let sessions = sessions(&bank.events);
    let mut cut = 0;
    for (column, flow, part, whole) in RATES {
        let count = |wanted: &str| {
            let has = |session: &&Session<'_>| {
                session.events.iter().any(|event| status(event) == Some((flow, wanted)))
            };
            i64::try_from(sessions.iter().filter(has).count()).unwrap()
        };
        let (part_count, whole_count) = (count(part), count(whole));
        let percent = part_count * 100 / whole_count;
        assert!((1..100).contains(&percent), "{flow}: {percent}");
        cut += i64::from(part_count * 100 % whole_count > 0);
        bank.check(&rate(column, flow, part, whole), &[(column, "int8")], &[vec![percent.into()]]);
    }
    assert!(cut > 0, "some are not whole");
}

#[test]
fn sessions_per_step_of_a_flow() {
    let Some(bank) = bank() else { return };
    let mut steps: BTreeMap<Option<String>, i64> = BTreeMap::new();
    let mut left_out = 0;
    for session in sessions(&bank.events) {
        let tops = tops(&session).into_iter().filter(|(flow, _)| flow == "setup_recurrent_payment");
        let in_session: BTreeSet<Option<String>> = tops.map(|(_, step)| step).collect();
        let ends = ["cancelled", "completed"];
        let goes_on = |event: &&Value| status(event).is_some_and(|(_, status)| !ends.contains(&status));
        if !session.events.iter().any(goes_on) {
            left_out += in_session.len();
            continue;
        }
        for step in in_session {
            *steps.entry(step).or_default() += 1;
        }
    }
    assert!(steps.len() > 4 && steps.contains_key(&None) && left_out > 5, "{steps:?}, {left_out}");
    let mut steps: Vec<_> = steps.iter().map(|(step, count)| (step.as_deref(), *count)).collect();
    steps.sort_by_key(|(step, _)| nulls_last(*step));
    let expected: Vec<Vec<Cell>> =
        steps.into_iter().map(|(step, count)| vec![step.into(), count.into()]).collect();

    bank.check(STEPS, &STEPS_COLUMNS, &expected);
}

#[test]
fn sessions_of_two_linked_flows() {
    let Some(bank) = bank() else { return };
    let sessions = sessions(&bank.events);
    let count = |flow| {
        let on_top = |session: &&Session<'_>| tops(session).iter().any(|(top, _)| top == flow);
        i64::try_from(sessions.iter().filter(on_top).count()).unwrap()
    };
    let (first, second) = (count("replace_card"), count("replace_eligible_card"));
    assert!(0 < second && second < first, "{first}, {second}");
    bank.check(LINKED, &LINKED_COLUMNS, &[vec![first.into(), second.into()]]);
}

#[test]
fn times_are_the_events_in_utc() {
    let Some(bank) = bank() else { return };
    let writes = |table: &str, event: &Value| match table {
        "rasa_dialogue_stack_frame" => event["event"] == "stack",
        "rasa_llm_command" => event["parse_data"]["commands"].get(0).is_some(),
        _ => status(event).is_some(),
    };
    for table in ["rasa_dialogue_stack_frame", "rasa_llm_command", "rasa_flow_status"] {
        let times = || bank.events.iter().filter(|event| writes(table, event)).map(time);
        let (oldest, newest) = (times().min(), times().max());
        let sql = format!("SELECT min(inserted_at) AS oldest, max(inserted_at) AS newest FROM {table}");
        let columns = [("oldest", "timestamp"), ("newest", "timestamp")];
        bank.check(&sql, &columns, &[vec![oldest.unwrap().into(), newest.unwrap().into()]]);

        // By the server's clock as well, the last event was just before the load.
        let sql = format!(
            "SELECT count(*) AS count FROM {table}
             WHERE inserted_at BETWEEN (now() AT TIME ZONE 'UTC') - INTERVAL '1 hour' AND now() AT TIME ZONE 'UTC'"
        );
        let rows = answer(&mut Client::connect(&bank.url, NoTls).unwrap(), &sql, &[("count", "int8")]);
        assert!(matches!(rows[0][0], Cell::Integer(1..)), "{table}: {rows:?}");
    }
}

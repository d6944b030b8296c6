//! Tests of the metrics of any assistant: sessions, channels, intents, escalation, abandonment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use chrono::NaiveDateTime;
use serde_json::{Value, json};

use super::{Cell, Loaded, first_of_month, month, nulls_last, per_month, real, seconds, sessions, time};
use crate::support::lines;

/// Returns the capture `parcel`, spread over half a year, with the intents and responses that the
/// published queries name.
fn parcel() -> Option<&'static Loaded> {
    static LOADED: OnceLock<Option<Loaded>> = OnceLock::new();
    LOADED.get_or_init(|| Loaded::new(events())).as_ref()
}

fn events() -> Vec<Value> {
    let lines = lines("parcel/file-broker.jsonl.gz");
    let mut events: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    // Adds as many messages without an intent as the third most frequent intent has, so that they
    // tie.
    let mut unknown = events.iter().filter(|event| *intent(event) == "report_issue").count();
    for event in &mut events {
        if event["event"] == "bot" && event["metadata"]["utter_action"] == "utter_greet" {
            event["metadata"]["utter_action"] = json!("utter_ask_name");
        }
        if *intent(event) == "talk_to_human" {
            event["parse_data"]["intent"]["name"] = json!("handoff_to_support");
        } else if *intent(event) == "nlu_fallback" && unknown > 0 {
            event["parse_data"]["intent"]["name"] = Value::Null;
            unknown -= 1;
        }
    }
    spread(&mut events);
    events
}

fn intent(event: &Value) -> &Value {
    &event["parse_data"]["intent"]["name"]
}

/// Moves the senders to several months. Every fifth is in the middle of a conversation as a month
/// begins.
fn spread(events: &mut [Value]) {
    let mut senders: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for event in events.iter() {
        senders.entry(event["sender_id"].as_str().unwrap().to_owned()).or_default().push(seconds(event));
    }
    let mut shifts: BTreeMap<String, f64> = BTreeMap::new();
    for (number, (sender, mut times)) in (0..).zip(senders) {
        times.sort_by(f64::total_cmp);
        let shift = match number % 6 {
            0 => {
                let start = first_of_month(2026, 6 + number / 6 % 5).and_utc().timestamp();
                start as f64 - times[times.len() / 2].floor()
            }
            months => f64::from(months - 1) * -30.0 * 86_400.0,
        };
        shifts.insert(sender, shift);
    }
    for event in events {
        let shifted = seconds(event) + shifts[event["sender_id"].as_str().unwrap()];
        event["timestamp"] = json!(shifted);
    }
}

/// Returns the user messages of the capture.
fn messages(events: &[Value]) -> impl Iterator<Item = &Value> {
    events.iter().filter(|event| event["event"] == "user")
}

#[test]
fn sessions_per_month() {
    let Some(parcel) = parcel() else { return };
    let sessions = sessions(&parcel.events);
    let started = parcel.events.iter().filter(|event| event["event"] == "session_started").count();
    assert_eq!(sessions.len(), started, "as in Rasa");
    let mut months: BTreeMap<NaiveDateTime, i64> = BTreeMap::new();
    for session in &sessions {
        *months.entry(month(session.events[0])).or_default() += 1;
    }
    assert!(months.len() > 4);
    let expected: Vec<Vec<Cell>> =
        months.into_iter().map(|(month, count)| vec![month.into(), count.into()]).collect();
    let sql = r#"
        SELECT started."month" AS "first_seen", count(*) AS "count"
        FROM (
            SELECT date_trunc('month', "public"."rasa_session"."timestamp") AS "month" FROM "public"."rasa_session"
        ) AS started
        GROUP BY started."month"
        ORDER BY "first_seen""#;
    parcel.check(sql, &[("first_seen", "timestamp"), ("count", "int8")], &expected);
}

#[test]
fn senders_per_channel_and_first_seen() {
    let Some(parcel) = parcel() else { return };
    let mut senders: BTreeMap<&str, (Option<&str>, NaiveDateTime)> = BTreeMap::new();
    for session in sessions(&parcel.events) {
        let (channel, _) = senders.entry(session.sender).or_insert((None, time(session.events[0])));
        *channel = channel.or(session.of("user").find_map(|event| event["input_channel"].as_str()));
    }
    let mut groups: BTreeMap<_, i64> = BTreeMap::new();
    for (channel, first_seen) in senders.values() {
        *groups.entry((nulls_last(*channel), *first_seen)).or_default() += 1;
    }
    let channels: BTreeSet<_> = groups.keys().map(|(channel, _)| *channel).collect();
    assert!(channels.len() > 5 && channels.contains(&(true, None)), "{channels:?}");
    let expected: Vec<Vec<Cell>> = groups
        .into_iter()
        .map(|(((_, channel), first_seen), count)| vec![channel.into(), first_seen.into(), count.into()])
        .collect();
    // The order of texts depends on the database's locale.
    let sql = r#"
        SELECT s.channel, s.first_seen AS "timestamp", count(DISTINCT s.sender_key) AS count
        FROM public.rasa_sender AS s
        GROUP BY s.channel, s.first_seen
        ORDER BY s.channel COLLATE "C" ASC, s.first_seen ASC"#;
    let columns = [("channel", "varchar"), ("timestamp", "timestamp"), ("count", "int8")];
    parcel.check(sql, &columns, &expected);
}

#[test]
fn most_frequent_intents() {
    let Some(parcel) = parcel() else { return };
    let mut intents: BTreeMap<Option<&str>, i64> = BTreeMap::new();
    for message in messages(&parcel.events) {
        *intents.entry(intent(message).as_str()).or_default() += 1;
    }
    let mut top: Vec<(Option<&str>, i64)> = intents.into_iter().collect();
    top.sort_by_key(|(intent, count)| (-count, nulls_last(*intent)));
    top.truncate(5);
    let of = |intent| top.iter().position(|(other, _)| *other == intent).unwrap();
    assert_eq!(top[of(None)].1, top[of(Some("report_issue"))].1, "a tie");
    assert!(of(None) > of(Some("report_issue")));
    let expected: Vec<Vec<Cell>> =
        top.into_iter().map(|(intent, count)| vec![intent.into(), count.into()]).collect();
    let sql = r#"
        SELECT intent, count(*) AS count FROM rasa_user_message
        GROUP BY intent
        ORDER BY count DESC, intent COLLATE "C" ASC
        LIMIT 5"#;
    parcel.check(sql, &[("intent", "varchar"), ("count", "int8")], &expected);
}

#[test]
fn intents_over_time() {
    let Some(parcel) = parcel() else { return };
    let mut groups: BTreeMap<_, i64> = BTreeMap::new();
    for message in messages(&parcel.events) {
        *groups.entry((nulls_last(intent(message).as_str()), month(message))).or_default() += 1;
    }
    let unknown = groups.keys().filter(|((_, intent), _)| intent.is_none()).count();
    assert!(groups.len() > 50 && unknown > 2, "{groups:?}");
    let expected: Vec<Vec<Cell>> = groups
        .into_iter()
        .map(|(((_, intent), month), count)| vec![intent.into(), month.into(), count.into()])
        .collect();
    let sql = r#"
        SELECT "public"."rasa_user_message"."intent" AS "intent",
               date_trunc('month', "public"."rasa_user_message"."timestamp") AS "timestamp",
               count(*) AS "count"
        FROM "public"."rasa_user_message"
        GROUP BY "intent", date_trunc('month', "public"."rasa_user_message"."timestamp")
        ORDER BY "public"."rasa_user_message"."intent" COLLATE "C", 2"#;
    let columns = [("intent", "varchar"), ("timestamp", "timestamp"), ("count", "int8")];
    parcel.check(sql, &columns, &expected);
}

#[test]
fn escalation_by_intent() {
    let Some(parcel) = parcel() else { return };
    let sessions = sessions(&parcel.events);
    let rates = per_month(&sessions, |event| {
        (event["event"] == "user").then(|| i64::from(*intent(event) == "handoff_to_support"))
    });
    assert!(rates.values().filter(|rate| (0.001..0.999).contains(*rate)).count() > 2, "{rates:?}");
    let in_two_months =
        |session: &&super::Session<'_>| session.of("user").map(month).collect::<BTreeSet<_>>().len() > 1;
    assert!(sessions.iter().filter(in_two_months).count() > 5, "counted in both months");
    let expected: Vec<Vec<Cell>> =
        rates.into_iter().map(|(month, rate)| vec![month.into(), rate.into()]).collect();
    let sql = "
        WITH said AS (
            SELECT session_id, date_trunc('month', timestamp) AS month,
                   count(*) FILTER (WHERE intent = 'handoff_to_support') AS handoffs
            FROM rasa_user_message
            GROUP BY 1, 2
        )
        SELECT month AS timestamp, sum(handoffs) / count(*) AS escalation_rate
        FROM said GROUP BY month ORDER BY month";
    parcel.check(sql, &[("timestamp", "timestamp"), ("escalation_rate", "numeric")], &expected);
}

#[test]
fn abandonment() {
    let Some(parcel) = parcel() else { return };
    let mut months: BTreeMap<NaiveDateTime, (i64, i64)> = BTreeMap::new();
    for session in sessions(&parcel.events) {
        let Some(last) = session.of("bot").last() else { continue };
        let (abandoned, all) = months.entry(month(last)).or_default();
        *abandoned += i64::from(last["metadata"]["utter_action"] == "utter_ask_name");
        *all += 1;
    }
    let between = months.values().filter(|(abandoned, all)| *abandoned > 0 && abandoned < all).count();
    assert!(between > 3, "{months:?}");
    let expected: Vec<Vec<Cell>> = months
        .into_iter()
        .map(|(month, (abandoned, all))| vec![month.into(), (real(abandoned) / real(all)).into()])
        .collect();
    // Events of the same microsecond are in the order of their numbers.
    let sql = "
        WITH farewell AS (
            SELECT DISTINCT ON (e.session_id) e.session_id, e.timestamp, b.template_name
            FROM rasa_event AS e JOIN rasa_bot_message AS b ON b.event_id = e.id
            WHERE e.event_type = 'bot'
            ORDER BY e.session_id, e.timestamp DESC, e.sequence_number DESC
        )
        SELECT date_trunc('month', timestamp) AS timestamp,
               avg(CASE template_name WHEN 'utter_ask_name' THEN 1 ELSE 0 END::double precision) AS abandonment_rate
        FROM farewell GROUP BY 1 ORDER BY 1";
    parcel.check(sql, &[("timestamp", "timestamp"), ("abandonment_rate", "float8")], &expected);
}

#[test]
fn an_assistant_without_flows_has_none() {
    let Some(parcel) = parcel() else { return };
    super::calm::check_without_flows(parcel);
}

//! Answers in the shapes of the independent evaluation, to compare the numbers.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};
use turnmill_analytics::{Answer, Measure, Row, Table, Value};

/// Returns the numbers of an answer, named as the evaluation names them under `id`.
pub(crate) fn shape(id: &str, answer: &Answer) -> Json {
    let value = |name: &str| number(answer.value(name));
    let share = |name: &str| match answer.value(name) {
        Some(Measure::Share(share) | Measure::Ratio(share)) => {
            json!({"value": value(name), "n": share.n, "d": share.d})
        }
        other => panic!("{name} of {} is {other:?}", answer.metric.id),
    };
    let table = |name: &str, columns: &[usize]| rows(answer, name, columns);
    match id {
        "R1_conversations" => json!({"value": value("conversations"), "senders": value("senders")}),
        "R2_users" => json!({"value": value("users"), "new": value("new")}),
        "R3_sessions" => json!({"value": value("sessions")}),
        "R4_channels" => json!({
            "session": table("by_channel", &[0, 1]),
            "sender": table("by_sender_channel", &[0, 1]),
            "published_senders": table("senders", &[0, 1]),
        }),
        "R5_user_sessions" => {
            with(share("per_sender"), json!({"histogram_10_is_10_or_more": table("histogram", &[0, 1])}))
        }
        "R6_top_intents" => {
            json!({"messages": value("messages"), "top": table("by_intent", &[0, 1, 2])})
        }
        "R7_response_time" => json!({
            "count": value("answered"), "mean": value("mean"), "p50": value("p50"), "p90": value("p90"),
            "p95": value("p95"), "p99": value("p99"), "turns": value("turns"),
            "histogram": table("histogram", &[0, 1]),
        }),
        "R8_containment" => share("containment"),
        "R9_abandonment" => with(
            share("abandonment"),
            json!({
                "by_last_template": table("by_last_template", &[0, 1, 2]),
                "published_utter_ask_name": share("published"),
            }),
        ),
        "R10_escalation" => with(
            share("escalation"),
            json!({
                "by_preceding_intent": table("by_preceding_intent", &[0, 1]),
                "published_nlu": table("published_nlu", &[0, 1]),
                "published_calm": table("published_calm", &[0, 1]),
            }),
        ),
        "three_ways_to_end" => {
            let names = ["escalated", "abandoned", "finished", "open", "unused"];
            names.into_iter().map(|name| (name.to_owned(), value(name))).collect::<Map<_, _>>().into()
        }
        "X1_time_per_session" => {
            let mut shape = json!({
                "count": value("sessions"), "mean": value("mean"), "p50": value("p50"), "p90": value("p90"),
                "histogram": table("histogram", &[0, 1]),
            });
            for row in &answer.table("by_ending").unwrap().rows {
                let cell = |column: usize| cell(&row[column]);
                shape[row[0].text().unwrap()] =
                    json!({"count": cell(1), "mean": cell(2), "p50": cell(3), "p90": cell(4)});
            }
            shape
        }
        "X2_messages" => {
            json!({"user": value("user"), "bot": value("bot"), "ratio": value("bot_per_user")})
        }
        "X12_callback" => with(share("repeat"), json!({"contained_without": share("contained_without")})),
        "X24_fallback" => {
            let preceding = answer.table("by_preceding").unwrap().rows.iter();
            let preceding = preceding.map(|row| json!([[cell(&row[0]), cell(&row[1])], cell(&row[2])]));
            with(
                share("missed"),
                json!({
                    "intents": share("fallback_intents"),
                    "sessions_two_in_a_row": share("sessions_two_in_a_row"),
                    "taken_by_form": value("taken_by_form"),
                    "by_preceding": preceding.take(10).collect::<Vec<_>>(),
                }),
            )
        }
        "X46_noanswer" => with(
            share("without_answer"),
            json!({
                "by_intent": table("by_intent", &[0, 1, 2]),
                "by_form": table("by_form", &[0, 1, 2]),
            }),
        ),
        "LN5_turns" => json!({
            "value": value("turns"), "max": value("most"), "distribution": table("histogram", &[0, 1]),
        }),
        "LN6_concurrency" => json!({"value": value("most")}),
        "X42_day_part" => table("days", &[0, 1]),
        "L17_heat_sessions" => {
            let counts = column(answer, "cells", 2);
            counts.chunks(12).map(|day| Json::from(day.to_vec())).collect::<Vec<_>>().into()
        }
        "X3_abandon_depth" => json!({
            "count": share("turns")["d"], "mean": value("turns"), "distribution": table("histogram", &[0, 1]),
        }),
        "X4_topics" => json!({
            "count": share("intents")["d"], "mean": value("intents"),
            "distribution": table("histogram", &[0, 1]), "flows_mean": value("flows"),
        }),
        "X5_error_rate" => share("errors"),
        "X8_resolution" => share("resolution"),
        "X9_engagement" => share("engagement"),
        "R8_containment.engaged" => share("containment_engaged"),
        "X11_topic_impact" => table("drivers", &[0, 1, 2, 3, 4]),
        "X13_session_end" => with(share("explicit"), json!({"ended_by": table("ended_by", &[0, 1])})),
        "X14_exit_intent" => table("intents", &[0, 1, 2, 3]),
        "X19_lifecycle" => {
            let mut weeks =
                objects(answer, "weeks", &["from", "new", "returning", "resurrecting", "dormant"]);
            for week in weeks.as_array_mut().unwrap() {
                week["from"] = format!("{} 00:00:00.000000", week["from"].as_str().unwrap()).into();
            }
            weeks
        }
        "X20_stickiness" => json!({
            "active_days": table("active_days", &[0, 1]), "dau": value("dau"), "wau": value("wau"),
            "mau": value("mau"), "dau_mau": value("dau_per_mau"),
        }),
        "X22_confidence" => json!({
            "histogram": column(answer, "histogram", 1), "below_0.7": share("below_threshold"),
            "mean_by_intent": table("by_intent", &[0, 1, 2]),
        }),
        "X23_confusion" => {
            let pairs = of(answer, "pairs").rows.iter();
            pairs.map(|row| json!([[cell(&row[0]), cell(&row[1])], cell(&row[2])])).collect::<Vec<_>>().into()
        }
        "X25_unhandled" => table("texts", &[0, 1]),
        "X26_repeat" => json!({"texts": share("texts"), "templates": share("responses")}),
        "X27_slot_fill" => {
            let mut forms = Map::new();
            let stopped = &of(answer, "stopped_at").rows;
            for row in &of(answer, "forms").rows {
                let names =
                    ["sessions", "completed", "broken_off", "left_open", "turns", "taken", "rejected"];
                let mut form: Map<String, Json> = names
                    .into_iter()
                    .zip(&row[1..])
                    .map(|(name, value)| (name.into(), cell(value)))
                    .collect();
                let slots = stopped.iter().filter(|slot| slot[0] == row[0]);
                let slots: Vec<Json> = slots.map(|slot| json!([cell(&slot[1]), cell(&slot[2])])).collect();
                form.insert("stopped_at".into(), slots.into());
                forms.insert(row[0].text().unwrap().into(), form.into());
            }
            forms.into()
        }
        "X28_slot_values" => {
            let mut slots = Map::new();
            for row in &of(answer, "fill_rates").rows {
                let values = of(answer, "values").rows.iter().filter(|value| value[0] == row[0]);
                // The evaluation cuts values before it counts them.
                let mut cut: BTreeMap<String, i64> = BTreeMap::new();
                for value in values {
                    let text = value[1].text().unwrap().chars().take(60).collect();
                    *cut.entry(text).or_default() += value[2].integer();
                }
                let mut top: Vec<(String, i64)> = cut.into_iter().collect();
                top.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
                top.truncate(5);
                let slot =
                    json!({"value": cell(&row[3]), "n": cell(&row[1]), "d": cell(&row[2]), "top": top});
                slots.insert(row[0].text().unwrap().into(), slot);
            }
            slots.into()
        }
        "X44_flow_resolution" => {
            let mut flows = Map::new();
            for row in &of(answer, "flows").rows {
                let (n, d) = (row[2].integer(), row[1].integer());
                let shape = json!({
                    "started": d,
                    "resolution": {"value": cell(&row[3]), "n": n, "d": d},
                    "dropped": {"value": 100.0 * (d - n) as f64 / d as f64, "n": cell(&row[4]), "d": d},
                    "interrupted": cell(&row[5]), "resumed": cell(&row[6]), "cancelled": cell(&row[7]),
                });
                flows.insert(row[0].text().unwrap().into(), shape);
            }
            flows.into()
        }
        "X47_flow_runs" => {
            let mut flows = Map::new();
            for row in &of(answer, "flows").rows {
                let of_flow = |name: &str, pick: &dyn Fn(&Row) -> Json| {
                    let rows = of(answer, name).rows.iter().filter(|other| other[0] == row[0]);
                    Json::from(rows.map(pick).collect::<Vec<_>>())
                };
                let more = json!({
                    "done_p50": cell(&row[6]), "turns_of_done": cell(&row[7]),
                    "entered_by": of_flow("entered_by", &|row| json!([cell(&row[1]), cell(&row[2])])),
                    "stopped": of_flow("stopped", &|row| {
                        json!([[cell(&row[1]), cell(&row[2])], cell(&row[3])])
                    }),
                });
                flows.insert(row[0].text().unwrap().into(), with(run(row), more));
            }
            with(share("done"), json!({"flows": flows}))
        }
        "X48_repair" => {
            let mut patterns = Map::new();
            for row in &of(answer, "patterns").rows {
                let shape = json!({"value": cell(&row[3]), "n": cell(&row[1]), "d": cell(&row[2])});
                patterns.insert(row[0].text().unwrap().into(), shape);
            }
            with(
                share("repaired"),
                json!({
                    "patterns": patterns,
                    "reasons": pairs(answer, "reasons"),
                    "by_flow": pairs(answer, "by_flow"),
                }),
            )
        }
        "X49_agents" => {
            let mut agents = Map::new();
            for row in &of(answer, "agents").rows {
                let reasons = of(answer, "canceled_by").rows.iter().filter(|other| other[0] == row[0]);
                let reasons: Vec<Json> = reasons.map(|row| json!([cell(&row[1]), cell(&row[2])])).collect();
                let more = json!({
                    "turns": cell(&row[8]), "done_p50": cell(&row[6]), "canceled_by": reasons,
                });
                agents.insert(row[0].text().unwrap().into(), with(run(row), more));
            }
            with(share("done"), json!({"agents": agents}))
        }
        "X50_tools" => {
            let tool = |row: &Row| {
                json!([
                    cell(&row[0]),
                    cell(&row[1]),
                    {"value": cell(&row[3]), "n": cell(&row[2]), "d": cell(&row[1])},
                ])
            };
            let tools: Vec<Json> = of(answer, "tools").rows.iter().map(tool).collect();
            with(
                share("errors"),
                json!({
                    "per_turn": value("per_message"), "failed": value("failed_actions"), "tools": tools,
                    "failed_actions": table("failed_actions", &[0, 1]),
                }),
            )
        }
        "X51_processing" => json!({
            "count": value("turns"), "p50": value("p50"), "p90": value("p90"), "p95": value("p95"),
            "parts": table("parts", &[0, 1, 2]),
        }),
        "X52_generated" => with(share("generated"), json!({"by": table("by", &[0, 1])})),
        "X53_slot_sources" => json!({
            "count": value("filled"), "by": table("by", &[0, 1]), "slots": pairs(answer, "slots"),
        }),
        "X54_commands" => json!({
            "value": value("commands"),
            "by": table("commands", &[0, 1]),
            "unnamed": with(share("unnamed"), json!({"by": pairs(answer, "unnamed")})),
        }),
        "X30_model_compare" => groups(answer, "models", "model_id"),
        "X31_env" => groups(answer, "environments", "environment"),
        "X32_policy" => {
            json!({"policies": table("policies", &[0, 1, 2]), "fallback": share("fallback")})
        }
        "X33_templates" => table("responses", &[0, 1, 2, 3, 4, 5]),
        "X38_quality" => {
            let names = [
                "sessions_without_answer",
                "sessions_without_user",
                "sessions_without_bot",
                "bot_messages_in_no_turn",
                "error_events",
                "events",
                "duplicates",
                "anonymised",
                "skipped",
            ];
            let mut shape: Map<String, Json> =
                names.into_iter().map(|name| (name.to_owned(), value(name))).collect();
            let reasons = of(answer, "dead_letters").rows.iter();
            let reasons: Map<String, Json> =
                reasons.map(|row| (row[0].text().unwrap().to_owned(), cell(&row[1]))).collect();
            shape.insert("dead_letters".into(), reasons.into());
            shape.insert("newest".into(), answer.newest.map(|time| time.to_string()).into());
            shape.into()
        }
        "X40_time_first" => json!({
            "count": value("answered"), "mean": value("mean"), "p50": value("p50"), "p90": value("p90"),
            "p95": value("p95"), "p99": value("p99"),
        }),
        "X41_handoff_detail" => json!({
            "count": value("handovers"), "turns": value("turns"), "seconds": value("seconds"),
            "trigger": table("by_trigger", &[0, 1]),
        }),
        "X55_freshness" => {
            objects(answer, "sources", &["source", "assistant", "newest", "age", "events", "week_before"])
        }
        "X56_left_out" => json!({"unused": value("unused"), "open": value("open")}),
        "L2_sessions" => json!({"value": value("sessions")}),
        "L3_messages" => json!({"value": value("messages")}),
        "L12_avg_duration" => json!({"value": value("mean")}),
        "L18_heat_intent" => {
            let mut intents: Vec<(Json, Vec<Json>)> = Vec::new();
            for row in &of(answer, "cells").rows {
                let intent = cell(&row[0]);
                if intents.last().is_none_or(|last| last.0 != intent) {
                    intents.push((intent, vec![json!(0); 24]));
                }
                let hour = usize::try_from(row[1].integer()).unwrap();
                intents.last_mut().unwrap().1[hour] = cell(&row[2]);
            }
            intents.into_iter().map(|(intent, hours)| json!([intent, hours])).collect::<Vec<_>>().into()
        }
        "L19_paths" => {
            let link = |row: &Row| {
                json!([[row[0].integer().to_string(), cell(&row[1]), cell(&row[2])], cell(&row[3])])
            };
            let transition = |row: &Row| json!([[cell(&row[0]), cell(&row[1])], cell(&row[2])]);
            let path = |row: &Row| {
                let path: Vec<&str> = row[0].text().unwrap().split(" > ").collect();
                json!([path, cell(&row[1])])
            };
            let rows = |name: &str| of(answer, name).rows.iter();
            json!({
                "sessions": value("sessions"),
                "links": rows("links").map(link).collect::<Vec<_>>(),
                "transitions": rows("transitions").map(transition).take(30).collect::<Vec<_>>(),
                "most_frequent": rows("most_frequent").map(path).collect::<Vec<_>>(),
            })
        }
        "L20_slot_top" => {
            let mut pairs: Vec<(Json, Vec<Json>)> = Vec::new();
            for row in &of(answer, "values").rows {
                let pair = json!([cell(&row[0]), cell(&row[1])]);
                if pairs.last().is_none_or(|last| last.0 != pair) {
                    pairs.push((pair, Vec::new()));
                }
                pairs.last_mut().unwrap().1.push(json!([cell(&row[2]), cell(&row[3])]));
            }
            pairs.into_iter().map(|(pair, values)| json!([pair, values])).collect::<Vec<_>>().into()
        }
        "A18_turn_stats" => json!({
            "turns_per_session": value("turns_per_session"),
            "bot_messages_per_turn": value("bot_messages_per_turn"),
        }),
        "A23_conv_per_user" => share("per_sender"),
        "A32_retention" => {
            let mut cohorts: Vec<(Json, Vec<Json>)> = Vec::new();
            for row in &of(answer, "cohorts").rows {
                if cohorts.last().is_none_or(|last| last.0 != cell(&row[0])) {
                    cohorts.push((cell(&row[0]), vec![cell(&row[0]), cell(&row[1])]));
                }
                cohorts.last_mut().unwrap().1.push(cell(&row[3]));
            }
            cohorts.into_iter().map(|(_, row)| Json::from(row)).collect::<Vec<_>>().into()
        }
        other => panic!("{other} has no shape"),
    }
}

/// Returns the rows of a list as objects.
fn objects(answer: &Answer, name: &str, names: &[&str]) -> Json {
    let object = |row: &Row| -> Json {
        names
            .iter()
            .zip(row)
            .map(|(name, value)| ((*name).to_owned(), cell(value)))
            .collect::<Map<_, _>>()
            .into()
    };
    of(answer, name).rows.iter().map(object).collect::<Vec<_>>().into()
}

/// Returns the rates of groups, by their names.
fn groups(answer: &Answer, name: &str, column: &str) -> Json {
    let mut rows: Vec<&Row> = of(answer, name).rows.iter().collect();
    rows.sort_by_key(|row| (row[0].is_null(), row[0].text().map(ToOwned::to_owned)));
    let object = |row: &&Row| {
        json!({
            column: cell(&row[0]), "sessions": cell(&row[1]), "first": cell(&row[2]), "last": cell(&row[3]),
            "escalation": {"value": cell(&row[5]), "n": cell(&row[4]), "d": cell(&row[1])},
            "abandonment": {"value": cell(&row[8]), "n": cell(&row[6]), "d": cell(&row[7])},
        })
    };
    rows.iter().map(object).collect::<Vec<_>>().into()
}

/// Returns the numbers of runs of a list of them.
fn run(row: &Row) -> Json {
    json!({
        "runs": cell(&row[1]), "done": cell(&row[2]), "canceled": cell(&row[3]),
        "abandoned": cell(&row[4]), "open": cell(&row[5]),
    })
}

/// Returns a list of two names and a number.
fn pairs(answer: &Answer, name: &str) -> Json {
    let pair = |row: &Row| json!([[cell(&row[0]), cell(&row[1])], cell(&row[2])]);
    of(answer, name).rows.iter().map(pair).collect::<Vec<_>>().into()
}

/// Returns a point of a series in the shape of the evaluation.
pub(crate) fn point(id: &str, measures: &[(&str, Measure)]) -> Json {
    let get = |name: &str| measures.iter().find(|(known, _)| *known == name).map(|(_, measure)| *measure);
    let value = |name: &str| number(get(name));
    let share = |name: &str| match get(name) {
        Some(Measure::Share(share)) => json!({"value": value(name), "n": share.n, "d": share.d}),
        other => panic!("{name} is {other:?}"),
    };
    match id {
        "R3_sessions" => json!({"value": value("sessions")}),
        "R7_response_time" => json!({
            "count": value("answered"), "mean": value("mean"), "p50": value("p50"), "p90": value("p90"),
            "p95": value("p95"), "p99": value("p99"), "turns": value("turns"),
        }),
        "R8_containment" => share("containment"),
        "X24_fallback" => with(share("missed"), json!({"taken_by_form": value("taken_by_form")})),
        "LN6_concurrency" => json!({"value": value("most")}),
        other => panic!("{other} has no shape of a point"),
    }
}

fn number(measure: Option<Measure>) -> Json {
    measure.unwrap().value().map_or(Json::Null, |value| json!(value))
}

fn with(mut base: Json, more: Json) -> Json {
    let Json::Object(more) = more else { panic!("{more}") };
    base.as_object_mut().unwrap().extend(more);
    base
}

fn cell(value: &Value) -> Json {
    serde_json::to_value(value).unwrap()
}

fn of<'a>(answer: &'a Answer, name: &str) -> &'a Table {
    answer.table(name).unwrap_or_else(|| panic!("{} has no {name}", answer.metric.id))
}

fn rows(answer: &Answer, name: &str, columns: &[usize]) -> Json {
    let pick = |row: &Row| Json::from(columns.iter().map(|column| cell(&row[*column])).collect::<Vec<_>>());
    of(answer, name).rows.iter().map(pick).collect::<Vec<_>>().into()
}

fn column(answer: &Answer, name: &str, column: usize) -> Vec<Json> {
    of(answer, name).rows.iter().map(|row| cell(&row[column])).collect()
}

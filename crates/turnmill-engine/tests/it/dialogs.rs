//! Tests the runs of flows, patterns, skills and agents with values that were worked out by hand.

use std::collections::HashMap;

use turnmill_model::tables::{DialogRunRow, Row};

use crate::conversation::{apply, sender};
use crate::facts::{columns, events};

/// Returns the runs of a script, a line each: name, kind, status, seconds at which it ended, turns,
/// name of the run that it hangs on, reason.
fn runs(script: &str) -> Vec<String> {
    let events = events(script);
    let (changes, _) = apply(&mut sender(&events), &events);
    let names: HashMap<_, _> =
        changes.dialog_runs.inserts.iter().map(|row| (row.id, changes.texts.get(row.dialog_id))).collect();
    let lines = columns::<DialogRunRow>(
        &changes.dialog_runs,
        &changes,
        "started_at",
        &["dialog_id", "kind", "status", "ended_at", "turns", "parent_id", "reason"],
    );
    let named = |line: String| {
        let words: Vec<String> = line
            .split(' ')
            .map(|word| match word.parse().ok().and_then(|id: uuid::Uuid| names.get(&id)) {
                Some(name) => (*name).to_owned(),
                None => word.strip_suffix("000000").unwrap_or(word).to_owned(),
            })
            .collect();
        words.join(" ")
    };
    lines.into_iter().map(named).collect()
}

fn started(flow: &str, frame: &str, entered: &str) -> String {
    format!(
        r#"flow_started "flow_id": "{flow}", "metadata": {{"frame_id": "{frame}", "frame_type": "{entered}"}}"#
    )
}

#[test]
fn a_flow_counts_the_messages_after_the_one_that_started_it() {
    let script = format!(
        r#"1 user
        2 {book}
        3 {asks}
        4 user
        5 {asks}
        6 user
        7 flow_completed "flow_id": "pattern_collect_information", "step_id": "x"
        8 flow_completed "flow_id": "book", "step_id": "3_utter"
        9 user"#,
        book = started("book", "F1", "regular"),
        asks = started("pattern_collect_information", "F2", "interrupt"),
    );
    assert_eq!(
        runs(&script),
        ["book flow done 8 2 - -", "pattern_collect_information pattern done 7 - book -"],
        "a pattern that starts again in its frame is one run"
    );
}

#[test]
fn a_cancelled_flow_stays_until_it_completes() {
    let script = format!(
        r#"1 user
        2 {book}
        3 {pay}
        4 flow_cancelled "flow_id": "pay", "step_id": "0"
        5 flow_started "flow_id": "pattern_cancel_flow", "metadata": {{"reason": "r"}}
        6 flow_completed "flow_id": "pay", "step_id": "NEXT:END"
        7 flow_completed "flow_id": "book", "step_id": "NEXT:END""#,
        book = started("book", "F1", "regular"),
        pay = started("pay", "F2", "call"),
    );
    // The pattern is about the cancelled flow, and is dropped with it here.
    assert_eq!(
        runs(&script),
        [
            "book flow canceled 7 0 - -",
            "pay flow canceled 4 0 book -",
            "pattern_cancel_flow pattern canceled 6 - pay dropped",
        ]
    );
    // Without a completion the next message takes it away: the event after it means the run below.
    let script = format!(
        r#"1 {first}
        2 {second}
        3 flow_cancelled "flow_id": "pay"
        4 user
        5 flow_completed "flow_id": "pay", "step_id": "END""#,
        first = started("pay", "F1", "regular"),
        second = started("pay", "F2", "regular"),
    );
    assert_eq!(runs(&script), ["pay flow done 5 1 - -", "pay flow canceled 3 0 pay -"]);
}

#[test]
fn a_resumed_flow_takes_along_what_it_called() {
    let script = format!(
        r#"1 {a}
        2 {b}
        3 {c}
        4 flow_resumed "flow_id": "a"
        5 user
        6 flow_completed "flow_id": "a", "step_id": "x"
        7 user"#,
        a = started("a", "F1", "regular"),
        b = started("b", "F2", "call"),
        c = started("c", "F3", "regular"),
    );
    // b is on top after a resumes, and is dropped as a completes; c is below.
    assert_eq!(runs(&script), ["a flow done 6 0 - -", "b flow canceled 6 1 a dropped", "c flow - - 1 b -"]);
}

#[test]
fn what_empties_the_stack_is_done_and_the_rest_is_abandoned() {
    let flow = started("book", "F1", "regular");
    let reset = started("back", "F2", "regular");
    let why = "routing_session_ended";
    assert_eq!(
        runs(&format!("1 {flow}\n2 {reset}\n3 {why}")),
        [format!("book flow abandoned 3 0 - {why}"), format!("back flow done 3 0 book {why}")]
    );
    let restart = r#"flow_started "flow_id": "pattern_restart""#;
    assert_eq!(
        runs(&format!("1 {flow}\n2 {restart}\n3 restart\n4 action \"name\": \"action_session_start\"")),
        ["book flow abandoned 3 0 - restart", "pattern_restart pattern done 3 - book restart"]
    );
    let start = r#"flow_started "flow_id": "pattern_session_start""#;
    assert_eq!(
        runs(&format!("1 {start}\n2 {flow}\n3 action \"name\": \"action_session_start\"\n4 session_started")),
        [
            "pattern_session_start pattern abandoned 3 - - session_started",
            "book flow abandoned 3 0 - session_started"
        ],
        "only the topmost run may have emptied it"
    );
    // The end of a session ends no run.
    assert_eq!(runs(&format!("1 {flow}\n2 session_ended")), ["book flow - - 0 - -"]);
}

#[test]
fn an_agent_has_a_turn_for_each_call() {
    let script = format!(
        r#"1 {flow}
        2 agent_started "agent_id": "finder", "flow_id": "book"
        3 user
        4 agent_started "agent_id": "finder", "flow_id": "book"
        5 agent_interrupted "agent_id": "finder", "flow_id": "book"
        6 agent_resumed "agent_id": "finder", "flow_id": "book"
        7 agent_completed "agent_id": "finder", "flow_id": "book", "status": "input_required"
        8 agent_started "agent_id": "finder", "flow_id": "book"
        9 agent_cancelled "agent_id": "finder", "flow_id": "book", "reason": "timed"
        10 agent_cancelled "agent_id": "finder", "flow_id": "book", "reason": "again""#,
        flow = started("book", "F1", "regular"),
    );
    assert_eq!(
        runs(&script),
        [
            "book flow - - 1 - -",
            "finder agent done 7 3 book input_required",
            "finder agent canceled 9 1 book timed",
        ]
    );
}

#[test]
fn skills_end_alone_and_own_ones_are_patterns() {
    let script = r#"1 skill_activated "skill_id": "default_session_start"
        2 skill_completed "skill_id": "default_session_start"
        3 skill_activated "skill_id": "book"
        4 skill_activated "skill_id": "pay"
        5 skill_cancelled "skill_id": "book", "step_id": "1"
        6 user
        7 skill_completed "skill_id": "pay""#;
    assert_eq!(
        runs(script),
        [
            "default_session_start pattern done 2 - - -",
            "book skill canceled 5 0 - -",
            "pay skill done 7 1 book -",
        ]
    );
}

#[test]
fn at_most_a_hundred_runs_are_on_the_stack() {
    let mut script: Vec<String> = (0..101)
        .map(|number| format!("{number} {}", started(&format!("f{number}"), "", "regular")))
        .collect();
    script.push(r#"200 flow_completed "flow_id": "f0", "step_id": "x""#.to_owned());
    script.push(r#"201 flow_completed "flow_id": "f1", "step_id": "x""#.to_owned());
    let runs = runs(&script.join("\n"));
    assert_eq!(runs.len(), 101);
    assert_eq!(runs[0], "f0 flow - - 0 - -", "it left the stack, open");
    assert_eq!(runs[1], "f1 flow done 201 0 f0 -");
    assert_eq!(runs[100], "f100 flow canceled 201 0 f99 dropped");
}

#[test]
fn a_run_of_an_earlier_batch_is_updated_once() {
    let flow = started("book", "F1", "regular");
    let all = events(&format!(
        "0 session_started\n1 {flow}\n2 user\n3 user\n\
         4 flow_completed \"flow_id\": \"book\", \"step_id\": \"x\""
    ));
    let mut timeline = sender(&all);
    let (first, _) = apply(&mut timeline, &all[..2]);
    assert_eq!((first.dialog_runs.inserts.len(), first.dialog_runs.updates.len()), (1, 0));
    let (second, _) = apply(&mut timeline, &all[2..3]);
    assert_eq!((second.dialog_runs.inserts.len(), second.dialog_runs.updates.len()), (0, 1));
    assert_eq!(second.dialog_runs.updates[0].turns, Some(1));
    let (third, _) = apply(&mut timeline, &all[3..]);
    let [run] = third.dialog_runs.updates[..] else { panic!("{:?}", third.dialog_runs) };
    assert_eq!((run.turns, run.status.map(|status| third.texts.get(status))), (Some(2), Some("done")));
    assert_eq!(run.weight, 1.0);
    assert_eq!(DialogRunRow::TABLE.name, "ext_dialog_run");
}

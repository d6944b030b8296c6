//! The worked examples.

use turnmill_markers::evaluate::Evaluator;
use turnmill_markers::{Compatibility, ForeignState, MarkerEvent, Program};

use crate::{action, documented, results, set, slot, user};

const A: &str = "
m_seq: {seq: [{intent: order}, {slot_was_set: size}]}
m_and: {and: [{slot_was_set: size}, {intent: confirm}]}
m_not: {and: [{intent: confirm}, {not: [{slot_was_set: size}]}]}
m_once: {at_least_once: [{intent: confirm}]}
m_never: {never: [{action: utter_sorry}]}
";

fn a() -> Vec<MarkerEvent<'static>> {
    vec![
        action("action_session_start"),
        MarkerEvent::Other,
        action("action_listen"),
        user("order"),
        action("utter_ask_size"),
        MarkerEvent::Other,
        action("action_listen"),
        user("confirm"),
        slot("size", true),
        user("confirm"),
        slot("size", false),
        user("confirm"),
        action("utter_sorry"),
    ]
}

#[test]
fn example_a() {
    let expected = [vec![(8, 2)], vec![(9, 2)], vec![(7, 1), (11, 3)], vec![(7, 1)], vec![(0, 0)]];
    assert_eq!(results(&documented(A), &a()), expected);
    let as_shipped = Program::of_set(&set(A), Compatibility::Rasa36);
    assert_eq!(results(&as_shipped, &a())[4], [(12, 4)]);
}

const B: &str = "
seq: {seq: [{intent: a}, {intent: b}]}
slot: {slot_was_set: s}
once: {at_least_once: [{intent: a}]}
never_: {never: [{intent: a}]}
";

/// Returns session, event and user turns of each result, by marker.
fn b(compatibility: Compatibility) -> Vec<Vec<(usize, usize, u32)>> {
    let program = Program::of_set(&set(&B.replacen("seq:", "m_seq:", 1)), compatibility);
    let start = action("action_session_start");
    let events =
        [start, user("a"), slot("s", true), start, user("b"), slot("s", false), user("a"), user("b")];
    let mut found = vec![Vec::new(); program.len()];
    let mut evaluator = Evaluator::new(&program);
    evaluator
        .conversation::<ForeignState>(&events, |session| {
            for result in &session.results {
                found[result.marker].push((
                    session.session_idx,
                    result.event_idx,
                    result.num_preceding_user_turns,
                ));
            }
            Ok(())
        })
        .unwrap();
    found
}

#[test]
fn example_b() {
    let documented = b(Compatibility::Documented);
    assert_eq!(
        documented,
        [vec![(1, 7, 2)], vec![(0, 2, 1)], vec![(0, 1, 0), (1, 6, 1)], vec![(0, 0, 0), (1, 3, 0)]]
    );
    let as_shipped = b(Compatibility::Rasa36);
    assert_eq!(as_shipped[0], [(1, 4, 0), (1, 7, 2)]);
    assert_eq!(as_shipped[1..3], documented[1..3]);
    assert_eq!(as_shipped[3], [(0, 1, 0), (1, 6, 1)]);
}

#[test]
fn example_c() {
    let program = documented(
        "m_seq: {seq: [{slot_was_set: s}, {slot_was_set: s}]}
m_not: {not_intent: a}
m_alon: {at_least_one_not: [{intent: a}, {slot_was_set: s}]}",
    );
    let events = [action("action_session_start"), slot("s", true), user("a"), user("b"), user("a")];
    let expected = [vec![(2, 0), (4, 2)], vec![(0, 0), (1, 0), (3, 1)], vec![(0, 0), (1, 0), (3, 1)]];
    assert_eq!(results(&program, &events), expected);
}

#[test]
fn a_sequence_of_states_goes_on_at_untouched_events() {
    let program = documented("m: {seq: [{slot_was_set: s}, {slot_was_set: s}]}");
    let mut events = vec![slot("s", true)];
    events.extend([MarkerEvent::Other; 5]);
    assert_eq!(results(&program, &events), [[(1, 0), (3, 0), (5, 0)]]);
}

#[test]
fn only_the_first_result_counts_at_the_top_and_only_there() {
    let program = documented(
        "top: {at_least_once: [{intent: a}]}
below: {not: [{never: [{intent: a}]}]}",
    );
    let events = [MarkerEvent::Other, user("a"), MarkerEvent::Other, user("a")];
    assert_eq!(results(&program, &events), [vec![(1, 0)], vec![(1, 0), (2, 1), (3, 1)]]);
}

#[test]
fn intents_are_found_by_either_name_and_once() {
    let program = documented("short: {intent: faq}\nlong: {intent: faq/prices}\nempty: {intent: ''}");
    let retrieval = MarkerEvent::User { intent: Some("faq"), full_retrieval_intent: Some("faq/prices") };
    let twice = MarkerEvent::User { intent: Some("faq"), full_retrieval_intent: Some("faq") };
    let none = MarkerEvent::User { intent: None, full_retrieval_intent: None };
    assert_eq!(
        results(&program, &[retrieval, twice, none, user("")]),
        [vec![(0, 0), (1, 1)], vec![(0, 0)], vec![(3, 3)]]
    );
}

#[test]
fn sessions_begin_at_their_action() {
    use turnmill_markers::evaluate::sessions;
    let start = action("action_session_start");
    assert_eq!(sessions(&[]), []);
    assert_eq!(sessions(&[user("a"), user("b")]).first(), Some(&(0..2)));
    assert_eq!(sessions(&[user("a"), start, user("b"), start]), [1..3, 3..4]);
}

//! Session keys and gaps, which formats other than Rasa's use.

use turnmill_model::{
    Body, Event, EventId, EventTime, IdentityDigest, SenderId, SessionId, SessionRule, Settings, UserMessage,
};
use turnmill_oracle::tables_of_events;

use crate::script::{START, event_ids, id, layout, session_ids};

fn event(sender: &str, seconds: f64, session: SessionRule, body: Body<'static>) -> Event<'static> {
    let time = EventTime::from_seconds(START + seconds).unwrap();
    let digest = IdentityDigest::new("test").text(sender).number(time.seconds().to_bits());
    Event {
        id: EventId(digest.uuid(None)),
        sender: SenderId::new(None, sender),
        sender_key: sender.to_owned().into(),
        assistant: None,
        time,
        tie: None,
        event_type: "message".into(),
        model_id: None,
        environment: None,
        user_key: None,
        session,
        anonymised: None,
        identified_by_key: false,
        ordinal: 0,
        counted: true,
        body,
        details: None,
    }
}

fn user() -> Body<'static> {
    Body::User(Box::new(UserMessage { text: Some("hi".into()), ..UserMessage::default() }))
}

fn bot() -> Body<'static> {
    Body::Bot { text: Some("hello".into()), template_name: None }
}

#[test]
fn gaps() {
    let gap = SessionRule::Gap { seconds: 60.0 };
    let mut events: Vec<Event<'_>> =
        [(0.0, bot()), (1.0, user()), (61.0, bot()), (121.5, user()), (130.0, bot())]
            .into_iter()
            .map(|(seconds, body)| event("u1", seconds, gap, body))
            .collect();
    let expected = tables_of_events(&Settings::default(), &events);
    assert_eq!(layout(&expected.tables), "A- A1 A1 B1 B1", "exactly 60 seconds are no gap");
    // From the first event, whether it begins a session or not.
    let ids = event_ids(&expected.tables);
    assert_eq!(session_ids(&expected.tables), [ids[0].session().0, ids[3].session().0]);
    assert_eq!(expected.ledger.records, 5);
    events.reverse();
    assert_eq!(tables_of_events(&Settings::default(), &events).tables, expected.tables);
    // A late event closes a gap.
    events.push(event("u1", 100.0, gap, bot()));
    assert_eq!(layout(&tables_of_events(&Settings::default(), &events).tables), "A- A1 A1 A1 A2 A2");
}

#[test]
fn keys() {
    let key = |number| SessionRule::Key(id(number));
    let events = [
        event("u1", 0.0, key(1), user()),
        event("u1", 1.0, key(2), user()),
        event("u1", 2.0, key(1), bot()),
        event("u1", 3.0, key(2), user()),
    ];
    let oracle = tables_of_events(&Settings::default(), &events);
    assert_eq!(layout(&oracle.tables), "A1 B1 A1 B2");
    assert_eq!(session_ids(&oracle.tables), [id(1), id(2)]);
    // The key of another sender.
    let both = [events.to_vec(), vec![event("u2", -1.0, key(2), user())]].concat();
    let oracle = tables_of_events(&Settings::default(), &both);
    assert_eq!(session_ids(&oracle.tables)[0], SessionId::of_sender(SenderId::new(None, "u2"), id(2)).0);
}

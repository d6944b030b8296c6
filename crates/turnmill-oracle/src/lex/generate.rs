//! Generated log objects of Lex: what the service writes, and what it should not.

use std::fmt::Write as _;

use turnmill_ingest::testkit::OwnedRecord;

use crate::generate::random::Random;

/// Texts that are chosen from.
const INTENTS: [&str; 4] = ["Book", "Pay", "FallbackIntent", "Ask"];
const SLOTS: [&str; 3] = ["city", "date", "size"];
const REASONS: [&str; 6] = [
    "UtteranceResponse",
    "FulfillmentInitiated",
    "FulfillmentStartedResponse",
    "FulfillmentUpdateResponse",
    "StillWaitingResponse",
    "FulfillmentCompletedResponse",
];
const ACTIONS: [&str; 7] =
    ["ElicitSlot", "ElicitSlot", "ConfirmIntent", "Close", "ElicitIntent", "Delegate", "None"];
const STATES: [&str; 4] = ["InProgress", "ReadyForFulfillment", "Fulfilled", "Failed"];
const ANSWERS: [&str; 5] = ["Nine to five.", "On the shelf.", "CANNOTANSWER", "...", ""];

/// Generates `count` records of a few senders in the order of their times, the same for the same
/// seed. Some times are equal, some records come twice, some are dead letters.
#[must_use]
pub fn logs(seed: u64, count: usize) -> Vec<OwnedRecord> {
    let mut random = Random::new(seed);
    let mut millis = 0_u64;
    let mut records: Vec<OwnedRecord> = Vec::new();
    for _ in 0..count {
        millis += match random.below(8) {
            0 => 0,
            1 => 400_000,
            2 => 250_000,
            _ => 1 + random.below(9000) as u64,
        };
        let record = match random.below(24) {
            0 if !records.is_empty() => records[random.below(records.len())].clone(),
            1 => OwnedRecord::body(random.pick(&[
                r#"{"sessionState": {}"#,
                r#"{"a": 1}"#,
                r#"{"bot": {}, "timestamp": "2024-03-04T10:00:00Z"}"#,
                r#"{"bot": {}, "sessionId": "s1", "timestamp": "soon"}"#,
                r#"{"invocationSource": "DialogCodeHook", "bot": {}}"#,
            ])),
            _ => OwnedRecord::body(object(&mut random, millis)),
        };
        records.push(record);
    }
    records
}

/// Returns the time of a record, `millis` after the morning of a day.
fn time(millis: u64) -> String {
    let (day, rest) = (4 + millis / 86_400_000, millis % 86_400_000);
    let (hour, minute) = (rest / 3_600_000, rest / 60_000 % 60);
    format!("2024-03-{day:02}T{hour:02}:{minute:02}:{:02}.{:03}Z", rest / 1000 % 60, rest % 1000)
}

fn object(random: &mut Random, millis: u64) -> String {
    let sender = random.below(3);
    let bot = random.below(2);
    let request = format!("{:08x}-0000-4000-8000-{:012x}", random.next() as u32, random.below(4));
    let mut out =
        format!(r#"{{"timestamp":"{}","requestId":"{request}","sessionId":"s{sender}""#, time(millis));
    let mut add = |text: String| out.push_str(&text);
    add(format!(
        r#","bot":{{"id":"BOT{bot}","name":"bot {bot}","aliasName":"{}","version":"{}","localeId":"en_GB"}}"#,
        random.pick(&["live", "TestBotAlias"]),
        random.pick(&["7", "DRAFT"]),
    ));
    if !random.once_in(4) {
        add(format!(r#","inputTranscript":"{}""#, random.pick(&["hi", "Rome \\\"now\\\"", "", "2"])));
    }
    if random.once_in(3) {
        add(format!(r#","missedUtterance":{}"#, random.pick(&["true", "false", "\"true\"", "1", "null"])));
    }
    if random.once_in(3) {
        add(format!(r#","responseReason":"{}""#, random.pick(&REASONS)));
    }
    if random.once_in(6) {
        add(format!(r#","operationName":"{}""#, random.pick(&["PutSession", "StartConversation"])));
    }
    if random.once_in(2) {
        add(format!(r#","inputMode":"{}""#, random.pick(&["Text", "Speech", "DTMF"])));
    }
    if random.once_in(4) {
        add(r#","rawInputTranscript":"hi","transcriptions":[{"transcriptionConfidence":"0.75"}]"#.into());
    }
    if random.once_in(3) {
        add(interpretations(random));
    }
    if random.once_in(3) {
        add(r#","dialogEventLogs":[{"dialogStepLabel":"Intent/A","dialogCodeHookInvocationLabel":"h"},{}]"#
            .into());
    }
    if random.once_in(3) {
        add(format!(r#","requestAttributes":{}"#, answers(random, true)));
    }
    match random.below(4) {
        0 => {}
        1 => add(r#","messages":[]"#.into()),
        2 => add(r#","messages":[{"contentType":"PlainText","content":"Which?"},{"content":null}]"#.into()),
        _ => add(r#","messages":[{"contentType":"PlainText","content":"Ok"}]"#.into()),
    }
    add(state(random, &request, sender));
    out.push('}');
    out
}

fn interpretations(random: &mut Random) -> String {
    let confidence = random.pick(&["\"0.63\"", "0.63", "{\"score\":0.63}", "null", "1"]);
    let (one, other) = (random.pick(&INTENTS), random.pick(&INTENTS));
    format!(
        r#","interpretations":[{{"intent":{{"name":"{one}"}},"nluConfidence":{confidence},"interpretationSource":"Lex",
"sentimentResponse":{{"sentiment":"MIXED","sentimentScore":{{"positive":"0.5","negative":0.25,"mixed":0}}}}}},
{{"nluConfidence":"0.1"}},{{"intent":{{"name":"{other}"}}}}]"#
    )
}

/// Returns a map of attributes, with answers of generative intents among them.
fn answers(random: &mut Random, request: bool) -> String {
    let mut map = String::from("{");
    if random.once_in(2) {
        let key = random.pick(&["x-amz-lex:qnA-search-response", "x-amz-lex:bedrock-agent-search-response"]);
        let _ = write!(map, r#""{key}":"{}","#, random.pick(&ANSWERS));
    }
    if !request {
        for key in ["user", "step"] {
            if random.once_in(2) {
                let _ = write!(map, r#""{key}":"{}","#, random.pick(&["a", "b", ""]));
            }
        }
        if random.once_in(8) {
            map.push_str(r#""Channel":"CHAT","#);
        }
    }
    map.truncate(map.trim_end_matches(',').len());
    map + "}"
}

fn state(random: &mut Random, request: &str, sender: usize) -> String {
    let mut out = String::from(r#","sessionState":{"x":1"#);
    match random.below(4) {
        0 => {}
        1 => {
            let _ = write!(out, r#","originatingRequestId":"{request}""#);
        }
        _ => {
            let _ = write!(out, r#","originatingRequestId":"first-{sender}-{}""#, random.below(2));
        }
    }
    if random.once_in(2) {
        let _ = write!(out, r#","sessionAttributes":{}"#, answers(random, false));
    }
    let action = random.pick(&ACTIONS);
    if !random.once_in(6) {
        let _ = write!(out, r#","dialogAction":{{"type":"{action}""#);
        if action == "ElicitSlot" && !random.once_in(8) {
            let _ = write!(out, r#","slotToElicit":"{}""#, random.pick(&SLOTS));
            if random.once_in(6) {
                out.push_str(r#","subSlotToElicit":{"name":"part"}"#);
            }
        }
        out.push('}');
    }
    if !random.once_in(6) {
        let (intent, state) = (random.pick(&INTENTS), random.pick(&STATES));
        let _ = write!(out, r#","intent":{{"name":"{intent}","state":"{state}""#);
        if !random.once_in(4) {
            let _ = write!(out, r#","slots":{}"#, slots(random));
        }
        out.push('}');
    }
    out + "}"
}

fn slots(random: &mut Random) -> String {
    let mut map = String::from("{");
    for name in SLOTS {
        match random.below(6) {
            0 => {}
            1 | 2 => {
                let _ = write!(map, r#""{name}":null,"#);
            }
            3 => {
                let _ = write!(
                    map,
                    r#""{name}":{{"shape":"List","values":[{{"value":{{"originalValue":"a","interpretedValue":"b"}}}},{{}}]}},"#
                );
            }
            4 => {
                let _ = write!(
                    map,
                    r#""{name}":{{"shape":"Composite","value":null,"subSlots":{{"part":{{"value":{{"originalValue":"p"}}}}}}}},"#
                );
            }
            _ => {
                let (original, value) = (random.pick(&["rome", "{city}"]), random.pick(&["Rome", "Oslo"]));
                let _ = write!(
                    map,
                    r#""{name}":{{"value":{{"originalValue":"{original}","interpretedValue":"{value}"}}}},"#
                );
            }
        }
    }
    map.truncate(map.trim_end_matches(',').len());
    map + "}"
}

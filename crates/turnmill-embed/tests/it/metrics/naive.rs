//! The metrics once more, from the rows of a store in plain loops. Shares no query with the crate.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rusqlite::{Connection, Row, types::FromSql};
use turnmill_analytics::{During, Filters, Measure, Question, Span};
use turnmill_model::Micros;

type Name = Option<String>;

/// One session with everything in it.
#[derive(Debug)]
pub(crate) struct Session {
    id: String,
    sender: String,
    started: i64,
    last: i64,
    /// Assistant, channel, environment, model, locale, source.
    properties: [Name; 6],
    counts: [i64; 4],
    last_template: Name,
    open_loop: Name,
    outcome: Name,
    ended_by: String,
    handed_over_at: Option<i64>,
    is_test: bool,
    turns: Vec<Turn>,
    bots: Vec<Bot>,
    /// Name and time of its markers.
    markers: Vec<(String, i64)>,
    commands: Vec<String>,
    /// Flow and status.
    flows: Vec<(String, String)>,
    /// Time and number of ratings by the source.
    scores: Vec<(i64, f64)>,
    /// Time and value of the slot `stars`.
    stars: Option<(i64, String)>,
    /// Time and whether it is an error, of all events.
    events: Vec<(i64, bool)>,
    /// Time and policy of all actions.
    actions: Vec<(i64, Name)>,
}

#[derive(Debug)]
struct Turn {
    at: i64,
    intent: Name,
    confidence: Option<f64>,
    /// Channel, environment, model.
    properties: [Name; 3],
    response: Option<i64>,
    bots: i64,
    template: Name,
    is_fallback: bool,
    weight: f64,
    text: Name,
    is_missed_message: bool,
    /// First and last number of its events.
    numbers: (i64, i64),
}

#[derive(Debug)]
struct Bot {
    at: i64,
    number: i64,
    template: Name,
    weight: f64,
}

/// A whole store.
#[derive(Debug)]
pub(crate) struct Store {
    sessions: Vec<Session>,
    /// Key, user and first time of each sender.
    senders: BTreeMap<String, (String, Name, i64)>,
    /// First time of each user.
    users: BTreeMap<String, i64>,
    newest: i64,
}

fn time(text: &str) -> i64 {
    Micros::parse(text).unwrap_or_else(|| panic!("{text}")).0
}

fn get<T: FromSql>(row: &Row<'_>, column: &str) -> T {
    row.get(column).unwrap()
}

/// Returns the rows of a query, made by `read`.
fn all<T>(store: &Connection, sql: &str, read: impl Fn(&Row<'_>) -> T) -> Vec<T> {
    let mut query = store.prepare(sql).unwrap();
    query.query_map([], |row| Ok(read(row))).unwrap().map(Result::unwrap).collect()
}

fn at(row: &Row<'_>, column: &str) -> i64 {
    time(&get::<String>(row, column))
}

impl Store {
    /// Reads the tables of a SQLite store.
    pub(crate) fn read(path: &Path) -> Self {
        let store = Connection::open(path).unwrap();
        let mut sessions: BTreeMap<String, Session> =
            all(&store, "SELECT * FROM ext_session", |row| Session {
                id: get(row, "session_id"),
                sender: get(row, "sender_id"),
                started: at(row, "started_at"),
                last: at(row, "last_event_at"),
                properties: ["assistant", "channel", "environment", "model_id", "locale", "source_system"]
                    .map(|column| get(row, column)),
                counts: ["user_messages", "bot_messages", "turns", "answered_turns"]
                    .map(|column| get(row, column)),
                last_template: get(row, "last_template"),
                open_loop: get(row, "open_loop"),
                outcome: get(row, "outcome"),
                ended_by: get(row, "ended_by"),
                handed_over_at: get::<Name>(row, "handed_over_at").map(|text| time(&text)),
                is_test: get(row, "is_test"),
                turns: Vec::new(),
                bots: Vec::new(),
                markers: Vec::new(),
                commands: Vec::new(),
                flows: Vec::new(),
                scores: Vec::new(),
                stars: None,
                events: Vec::new(),
                actions: Vec::new(),
            })
            .into_iter()
            .map(|session| (session.id.clone(), session))
            .collect();
        let of = |row: &Row<'_>| get::<String>(row, "session_id");

        // The message of a turn begins where the turn does.
        let texts: BTreeMap<(String, i64), (String, Name)> =
            all(&store, "SELECT * FROM rasa_user_message", |row| {
                ((of(row), get(row, "sequence_number")), (get(row, "id"), get(row, "text")))
            })
            .into_iter()
            .collect();
        let numbers: BTreeMap<String, (i64, i64)> = all(&store, "SELECT * FROM rasa_turn", |row| {
            (get(row, "id"), (get(row, "start_sequence_number"), get(row, "end_sequence_number")))
        })
        .into_iter()
        .collect();
        let messages: BTreeMap<String, (f64, bool)> = all(&store, "SELECT * FROM ext_message", |row| {
            (get(row, "event_id"), (get(row, "weight"), get::<Option<bool>>(row, "is_missed") == Some(true)))
        })
        .into_iter()
        .collect();
        let turns = all(&store, "SELECT * FROM ext_turn ORDER BY asked_at, turn_id", |row| {
            let (id, session): (String, String) = (get(row, "turn_id"), of(row));
            let numbers = numbers[&id];
            let (message, text) = texts[&(session.clone(), numbers.0)].clone();
            let turn = Turn {
                at: at(row, "asked_at"),
                intent: get(row, "intent"),
                confidence: get(row, "confidence"),
                properties: ["channel", "environment", "model_id"].map(|column| get(row, column)),
                response: get(row, "response_us"),
                bots: get(row, "bot_messages"),
                template: get(row, "first_template"),
                is_fallback: get(row, "default_fallback"),
                weight: get(row, "weight"),
                text,
                is_missed_message: messages.get(&message).is_some_and(|message| message.1),
                numbers,
            };
            (session, turn)
        });
        turns.into_iter().for_each(|(id, turn)| sessions.get_mut(&id).unwrap().turns.push(turn));
        let bots = all(&store, "SELECT * FROM rasa_bot_message ORDER BY sequence_number", |row| {
            let weight = messages.get(&get::<String>(row, "id")).map_or(1.0, |message| message.0);
            let (number, template) = (get(row, "sequence_number"), get(row, "template_name"));
            (of(row), Bot { at: at(row, "timestamp"), number, template, weight })
        });
        bots.into_iter().for_each(|(id, bot)| sessions.get_mut(&id).unwrap().bots.push(bot));
        let markers = "SELECT m.session_id, p.name, e.timestamp FROM rasa_markers m, rasa_patterns p, rasa_event e \
                       WHERE p.id = m.pattern_id AND e.id = m.event_id";
        for (id, marker) in all(&store, markers, |row| (of(row), (get(row, "name"), at(row, "timestamp")))) {
            sessions.get_mut(&id).unwrap().markers.push(marker);
        }
        for (id, command) in
            all(&store, "SELECT * FROM rasa_llm_command", |row| (of(row), get(row, "command")))
        {
            sessions.get_mut(&id).unwrap().commands.push(command);
        }
        let flows = all(&store, "SELECT * FROM rasa_flow_status", |row| {
            (of(row), (get(row, "flow_identifier"), get(row, "flow_status")))
        });
        flows.into_iter().for_each(|(id, flow)| sessions.get_mut(&id).unwrap().flows.push(flow));
        let scores = all(&store, "SELECT * FROM ext_feedback WHERE score IS NOT NULL", |row| {
            (of(row), (at(row, "created_at"), get(row, "score")))
        });
        scores.into_iter().for_each(|(id, score)| sessions.get_mut(&id).unwrap().scores.push(score));
        let stars = all(&store, "SELECT * FROM rasa_session_slot_state WHERE name = 'stars'", |row| {
            (of(row), (at(row, "timestamp"), get(row, "value")))
        });
        stars.into_iter().for_each(|(id, stars)| sessions.get_mut(&id).unwrap().stars = Some(stars));
        let events = all(&store, "SELECT * FROM rasa_event", |row| {
            (of(row), (at(row, "timestamp"), get::<String>(row, "event_type") == "error"))
        });
        events.into_iter().for_each(|(id, event)| sessions.get_mut(&id).unwrap().events.push(event));
        let actions = all(&store, "SELECT * FROM rasa_action", |row| {
            (of(row), (at(row, "timestamp"), get(row, "policy")))
        });
        actions.into_iter().for_each(|(id, action)| sessions.get_mut(&id).unwrap().actions.push(action));
        let senders = all(&store, "SELECT * FROM rasa_sender", |row| {
            (get(row, "id"), (get(row, "sender_key"), get(row, "user_id"), at(row, "first_seen")))
        });
        let users = all(&store, "SELECT * FROM rasa_user", |row| (get(row, "id"), at(row, "first_seen")));
        let newest =
            all(&store, "SELECT max(last_seen) AS newest FROM rasa_sender", |row| at(row, "newest"))[0];
        Self {
            sessions: sessions.into_values().collect(),
            senders: senders.into_iter().collect(),
            users: users.into_iter().collect(),
            newest,
        }
    }

    /// Returns the keys of every third sender.
    pub(crate) fn cohort(&self) -> Vec<String> {
        self.senders.values().step_by(3).map(|sender| sender.0.clone()).collect()
    }

    /// Returns the numbers of a question over a range, by metric and name.
    pub(crate) fn numbers(
        &self,
        question: &Question,
        span: Span,
    ) -> BTreeMap<(&'static str, &'static str), Number> {
        Evaluation {
            store: self,
            question,
            from: span.from.map(|time| time.0),
            to: span.to.map(|time| time.0),
        }
        .numbers()
    }
}

/// A number: its value, and what it is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Number {
    pub(crate) value: Option<f64>,
    pub(crate) parts: Option<(i64, i64)>,
}

impl From<Measure> for Number {
    fn from(measure: Measure) -> Self {
        let parts = match measure {
            Measure::Share(share) | Measure::Ratio(share) => Some((share.n, share.d)),
            _ => None,
        };
        Self { value: measure.value(), parts }
    }
}

fn count(count: f64) -> Number {
    Number { value: Some(count), parts: None }
}

fn per(n: f64, d: f64, scale: f64) -> Number {
    Number { value: (d > 0.0).then(|| scale * n / d), parts: Some((n as i64, d as i64)) }
}

fn share(n: f64, d: f64) -> Number {
    per(n, d, 100.0)
}

fn mean(sum: f64, number: f64) -> Number {
    Number { value: (number > 0.0).then(|| sum / number), parts: None }
}

/// Returns a percentile of seconds, interpolated between ranks.
fn rank(micros: &[i64], p: f64) -> Number {
    let mut sorted = micros.to_vec();
    sorted.sort_unstable();
    let value = (!sorted.is_empty()).then(|| {
        let place = p * (sorted.len() - 1) as f64;
        let (low, part) = (place as usize, place.fract());
        let next = sorted[(low + 1).min(sorted.len() - 1)];
        (sorted[low] as f64 + part * (next - sorted[low]) as f64) / 1e6
    });
    Number { value, parts: None }
}

fn means(micros: &[i64]) -> Number {
    mean(micros.iter().sum::<i64>() as f64 / 1e6, micros.len() as f64)
}

#[derive(Clone, Copy)]
struct Evaluation<'s> {
    store: &'s Store,
    question: &'s Question,
    from: Option<i64>,
    to: Option<i64>,
}

impl<'s> Evaluation<'s> {
    fn in_range(&self, at: i64) -> bool {
        self.from.is_none_or(|from| at >= from) && self.to.is_none_or(|to| at < to)
    }

    fn filters(&self) -> &Filters {
        &self.question.filters
    }

    fn is_over(&self, session: &Session) -> bool {
        let idle = i64::from(self.question.definitions.idle_minutes) * 60_000_000;
        session.ended_by != "open" || session.last <= self.as_of() - idle
    }

    fn as_of(&self) -> i64 {
        self.question.as_of.map_or(self.store.newest, |time| time.0)
    }

    fn is_escalated(&self, session: &Session) -> bool {
        let asks = |turn: &Turn| turn.intent.as_deref().is_some_and(asks_for_human);
        session.handed_over_at.is_some()
            || session.turns.iter().any(asks)
            || session.commands.iter().any(|command| command == "human handoff")
            || session
                .flows
                .iter()
                .any(|(flow, status)| flow == "pattern_human_handoff" && status == "started")
            || session
                .markers
                .iter()
                .any(|(name, _)| self.question.definitions.escalation_markers.contains(name))
    }

    fn is_completed(&self, session: &Session) -> bool {
        session.ended_by == "explicit"
            || session.outcome.as_deref() == Some("success")
            || session.markers.iter().any(|(name, _)| self.is_goal(name))
    }

    fn is_goal(&self, marker: &str) -> bool {
        let fits = |goal: &String| {
            goal == marker || goal.strip_suffix('*').is_some_and(|begin| marker.starts_with(begin))
        };
        self.question.definitions.goal_markers.iter().any(fits)
    }

    fn ending(&self, session: &Session) -> &'static str {
        let asked = session.last_template.as_deref().is_some_and(|name| name.starts_with("utter_ask_"));
        if session.counts[2] == 0 {
            "unused"
        } else if !self.is_over(session) {
            "open"
        } else if self.is_escalated(session) {
            "escalated"
        } else if self.is_completed(session) {
            "finished"
        } else if asked || session.open_loop.is_some() || session.outcome.as_deref() == Some("dropped") {
            "abandoned"
        } else {
            "finished"
        }
    }

    fn is_engaged(&self, session: &Session) -> bool {
        let greetings = &self.question.definitions.greetings;
        let own = |turn: &Turn| turn.intent.as_ref().is_none_or(|intent| !greetings.contains(intent));
        self.is_escalated(session)
            || session.turns.iter().any(own)
            || session.flows.iter().any(|(flow, _)| !flow.starts_with("pattern_"))
    }

    fn is_missed(&self, turn: &Turn) -> bool {
        let response = turn.template.as_deref().unwrap_or_default();
        turn.is_fallback
            || turn.is_missed_message
            || ["utter_default", "utter_out_of_scope"].contains(&response)
            || (response.starts_with("utter_") && response[6..].contains("rephrase"))
    }

    /// Whether the filters keep a session, those apart that messages have of their own.
    fn keeps_rest(&self, session: &Session) -> bool {
        let filters = self.filters();
        let [assistant, channel, _, model, locale, source] = &session.properties;
        let has = |values: &[Name], value: &Name| values.is_empty() || values.contains(value);
        let key = &self.store.senders[&session.sender].0;
        has(&filters.assistants, assistant)
            && has(&filters.locales, locale)
            && has(&filters.source_systems, source)
            && (filters.endings.is_empty()
                || filters.endings.iter().any(|ending| ending.name() == self.ending(session)))
            && (filters.markers.is_empty()
                || session.markers.iter().any(|(name, _)| filters.markers.contains(name)))
            && (filters.cohorts.is_empty()
                || filters.cohorts.iter().any(|cohort| cohort.senders.contains(key)))
            && (!filters.exclude_tests || !(is_test(session, model) || is_emulated(channel)))
    }

    fn keeps(&self, session: &Session) -> bool {
        let filters = self.filters();
        let [_, channel, environment, model, ..] = &session.properties;
        let has = |values: &[Name], value: &Name| values.is_empty() || values.contains(value);
        self.keeps_rest(session)
            && has(&filters.channels, channel)
            && has(&filters.environments, environment)
            && has(&filters.models, model)
            && (filters.intents.is_empty()
                || session.turns.iter().any(|turn| filters.intents.contains(&turn.intent)))
    }

    fn keeps_turn(&self, session: &Session, turn: &Turn) -> bool {
        let filters = self.filters();
        let [channel, environment, model] = &turn.properties;
        let has = |values: &[Name], value: &Name| values.is_empty() || values.contains(value);
        self.keeps_rest(session)
            && has(&filters.channels, channel)
            && has(&filters.environments, environment)
            && has(&filters.models, model)
            && has(&filters.intents, &turn.intent)
    }

    fn starts(&self, session: &Session) -> bool {
        match self.filters().during {
            During::Started => self.in_range(session.started),
            During::Active => {
                self.to.is_none_or(|to| session.started < to)
                    && self.from.is_none_or(|from| session.last >= from)
            }
        }
    }

    fn numbers(&self) -> BTreeMap<(&'static str, &'static str), Number> {
        let mut out = BTreeMap::new();
        let all = &self.store.sessions;
        let sessions: Vec<&Session> = all.iter().filter(|s| self.starts(s) && self.keeps(s)).collect();
        let turns: Vec<(&Session, usize)> = all
            .iter()
            .flat_map(|session| (0..session.turns.len()).map(move |number| (session, number)))
            .filter(|(session, number)| {
                let turn = &session.turns[*number];
                self.in_range(turn.at) && self.keeps_turn(session, turn)
            })
            .collect();
        let kept: Vec<&Session> = all.iter().filter(|session| self.keeps(session)).collect();
        self.of_sessions(&sessions, &mut out);
        self.of_turns(&turns, &mut out);
        self.of_rows(&kept, &turns, &mut out);
        self.of_users(&sessions, &mut out);
        // What the filter of tests leaves out of the sessions that the other filters keep.
        let mut question = self.question.clone();
        let leaves_out = std::mem::take(&mut question.filters.exclude_tests);
        let other = Evaluation { question: &question, ..*self };
        let left_out: Vec<&Session> =
            all.iter().filter(|s| leaves_out && other.starts(s) && other.keeps(s)).collect();
        let tests = left_out.iter().filter(|s| is_test(s, &s.properties[3])).count();
        let emulated =
            left_out.iter().filter(|s| is_emulated(&s.properties[1]) && !is_test(s, &s.properties[3]));
        out.insert(("X56_left_out", "emulated"), count(emulated.count() as f64));
        out.insert(("X56_left_out", "tests"), count(tests as f64));
        out
    }

    fn of_sessions(&self, sessions: &[&Session], out: &mut BTreeMap<(&'static str, &'static str), Number>) {
        let number = |keep: &dyn Fn(&Session) -> bool| sessions.iter().filter(|s| keep(s)).count() as f64;
        let sum = |of: &dyn Fn(&Session) -> i64| sessions.iter().map(|s| of(s)).sum::<i64>() as f64;
        let all = sessions.len() as f64;
        let with_turn = number(&|s| s.counts[2] > 0);
        let escalated = number(&|s| self.is_escalated(s));
        let engaged = number(&|s| self.is_engaged(s));
        let [e, a, f, open, unused] = ["escalated", "abandoned", "finished", "open", "unused"]
            .map(|name| number(&|s| self.ending(s) == name));
        let senders: BTreeSet<&String> = sessions.iter().map(|s| &s.sender).collect();
        let talking: BTreeSet<&String> =
            sessions.iter().filter(|s| s.counts[2] > 0).map(|s| &s.sender).collect();
        out.insert(("R1_conversations", "conversations"), count(with_turn));
        out.insert(("R1_conversations", "senders"), count(talking.len() as f64));
        out.insert(("R3_sessions", "sessions"), count(all));
        out.insert(("R5_user_sessions", "per_sender"), per(all, senders.len() as f64, 1.0));
        out.insert(("A23_conv_per_user", "per_sender"), per(all, senders.len() as f64, 1.0));
        out.insert(("R8_containment", "containment"), share(all - escalated, all));
        out.insert(("R8_containment", "containment_engaged"), share(engaged - escalated, engaged));
        out.insert(("R10_escalation", "escalation"), share(escalated, all));
        out.insert(("R9_abandonment", "abandonment"), share(a, e + a + f));
        for (name, value) in
            [("escalated", e), ("abandoned", a), ("finished", f), ("open", open), ("unused", unused)]
        {
            out.insert(("three_ways_to_end", name), count(value));
        }
        out.insert(("X9_engagement", "engagement"), share(engaged, all));
        let resolvable = |s: &Session| s.counts[2] > 0 && self.is_over(s) && self.is_engaged(s);
        let resolved = number(&|s| resolvable(s) && self.is_completed(s) && !self.is_escalated(s));
        out.insert(("X8_resolution", "resolution"), share(resolved, number(&resolvable)));
        let failed = |s: &Session| {
            s.flows.iter().any(|(flow, status)| flow == "pattern_internal_error" && status == "started")
        };
        out.insert(("X5_error_rate", "errors"), share(number(&failed), all));
        let turns = sum(&|s| s.counts[2]);
        out.insert(("X5_error_rate", "per_1000_turns"), per(1000.0 * number(&failed), turns, 1.0));
        out.insert(("LN5_turns", "turns"), per(turns, all, 1.0));
        out.insert(("A18_turn_stats", "turns_per_session"), per(turns, all, 1.0));
        let depth: i64 = sessions.iter().filter(|s| self.ending(s) == "abandoned").map(|s| s.counts[2]).sum();
        out.insert(("X3_abandon_depth", "turns"), per(depth as f64, a, 1.0));
        let fallback = &self.question.definitions.fallback_intents;
        let topics = |s: &Session| {
            let intents: BTreeSet<&String> = s.turns.iter().filter_map(|turn| turn.intent.as_ref()).collect();
            intents.into_iter().filter(|intent| s.counts[2] > 0 && !fallback.contains(intent)).count() as i64
        };
        out.insert(("X4_topics", "intents"), per(sum(&topics), with_turn, 1.0));
        let flows = |s: &Session| {
            let own =
                s.flows.iter().filter(|(flow, status)| status == "started" && !flow.starts_with("pattern_"));
            if s.counts[2] > 0 { own.map(|flow| &flow.0).collect::<BTreeSet<_>>().len() as i64 } else { 0 }
        };
        out.insert(("X4_topics", "flows"), per(sum(&flows), with_turn, 1.0));
        out.insert(
            ("X13_session_end", "explicit"),
            share(number(&|s| s.ended_by == "explicit" && self.is_over(s)), number(&|s| self.is_over(s))),
        );
        let day = 86_400_000_000;
        let mut of_sender: BTreeMap<&String, Vec<&Session>> = BTreeMap::new();
        for session in &self.store.sessions {
            of_sender.entry(&session.sender).or_default().push(session);
        }
        let ended = |s: &Session| s.last <= self.as_of() - day;
        let again = |s: &Session| {
            let next =
                |n: &Session| n.sender == s.sender && n.started > s.started && n.started <= s.last + day;
            of_sender[&s.sender].iter().any(|other| next(other))
        };
        out.insert(("X12_callback", "repeat"), share(number(&|s| ended(s) && again(s)), number(&ended)));
        let contained = number(&|s| ended(s) && !again(s) && !self.is_escalated(s));
        out.insert(("X12_callback", "contained_without"), share(contained, number(&ended)));
        let times = |keep: &dyn Fn(&Session) -> bool| -> Vec<i64> {
            sessions.iter().filter(|s| keep(s)).map(|s| s.last - s.started).collect()
        };
        let time = times(&|s| s.counts[2] > 0);
        out.insert(("X1_time_per_session", "mean"), means(&time));
        out.insert(("X1_time_per_session", "p50"), rank(&time, 0.5));
        out.insert(("X1_time_per_session", "p90"), rank(&time, 0.9));
        out.insert(("L12_avg_duration", "mean"), means(&times(&|_| true)));
        out.insert(("X7_time_vs_agent", "assistant"), means(&times(&|s| !self.is_escalated(s))));
        let paused: Vec<i64> = sessions.iter().filter_map(|s| Some(s.last - s.handed_over_at?)).collect();
        out.insert(("X7_time_vs_agent", "agent_observed"), means(&paused));
        let business = &self.question.business;
        let minute = business.agent_minutes.zip(business.agent_minute_cost);
        let saved = minute.map(|(minutes, cost)| {
            (all - escalated) * minutes * cost - business.session_cost.unwrap_or(0.0) * all
        });
        out.insert(("X6_roi", "savings"), Number { value: saved, parts: None });
        out.insert(
            ("X38_quality", "sessions_without_answer"),
            count(number(&|s| s.counts[2] > 0 && s.counts[3] == 0)),
        );
        out.insert(("X38_quality", "sessions_without_user"), count(number(&|s| s.counts[0] == 0)));
        out.insert(("X38_quality", "sessions_without_bot"), count(number(&|s| s.counts[1] == 0)));
        out.insert(("X56_left_out", "unused"), count(unused));
        out.insert(("X56_left_out", "open"), count(open));
        let first: Vec<i64> = sessions.iter().filter_map(|s| s.turns.first()?.response).collect();
        out.insert(("X40_time_first", "mean"), means(&first));
        out.insert(("X40_time_first", "p95"), rank(&first, 0.95));
        let goal = |s: &&Session| {
            let times = s.markers.iter().filter(|(name, _)| self.is_goal(name)).map(|(_, at)| at - s.started);
            times.min()
        };
        let goals: Vec<i64> = sessions.iter().filter_map(goal).collect();
        out.insert(("X40_time_first", "goal_mean"), means(&goals));
        out.insert(("X40_time_first", "goal_p50"), rank(&goals, 0.5));
        out.insert(("X40_time_first", "goals"), count(goals.len() as f64));
        let handovers = sessions.iter().filter(|s| self.is_escalated(s)).count();
        out.insert(("X41_handoff_detail", "handovers"), count(handovers as f64));
        let two = |s: &Session| s.turns.windows(2).any(|two| two.iter().all(|turn| self.is_missed(turn)));
        out.insert(("X24_fallback", "sessions_two_in_a_row"), share(number(&two), all));
        let rated =
            |s: &Session| !s.scores.is_empty() || s.stars.as_ref().is_some_and(|(_, v)| stars(v).is_some());
        out.insert(("X10_csat", "response_rate"), share(number(&rated), all));
        out.insert(("LN6_concurrency", "most"), count(self.most_at_once()));
    }

    /// Counts the sessions that are active at each start of one, and at the range's start.
    fn most_at_once(&self) -> f64 {
        let kept: Vec<&Session> = self.store.sessions.iter().filter(|session| self.keeps(session)).collect();
        let moments = kept.iter().map(|s| s.started).chain(self.from).filter(|at| self.in_range(*at));
        let active = |at: i64| kept.iter().filter(|s| s.started <= at && s.last >= at).count();
        moments.map(active).max().unwrap_or(0) as f64
    }

    fn of_turns(
        &self,
        turns: &[(&Session, usize)],
        out: &mut BTreeMap<(&'static str, &'static str), Number>,
    ) {
        let weigh = |keep: &dyn Fn(&Session, &Turn) -> bool| -> f64 {
            let turns = turns.iter().map(|(session, number)| (*session, &session.turns[*number]));
            turns.filter(|(session, turn)| keep(session, turn)).map(|(_, turn)| turn.weight).sum()
        };
        let all = weigh(&|_, _| true);
        let missed = weigh(&|_, turn| self.is_missed(turn));
        out.insert(("R6_top_intents", "messages"), count(all));
        out.insert(("X2_messages", "user"), count(all));
        out.insert(("L7_missed", "missed"), count(missed));
        out.insert(("L8_missed_pct", "missed"), share(missed, all));
        out.insert(("X24_fallback", "missed"), share(missed, all));
        let fallback = &self.question.definitions.fallback_intents;
        let is_fallback = |turn: &Turn| turn.intent.as_ref().is_some_and(|intent| fallback.contains(intent));
        out.insert(("X24_fallback", "fallback_intents"), share(weigh(&|_, turn| is_fallback(turn)), all));
        let without = weigh(&|_, turn| turn.response.is_none());
        out.insert(("X46_noanswer", "without_answer"), share(without, all));
        out.insert(("A18_turn_stats", "without_answer"), share(without, all));
        let bots: f64 = turns.iter().map(|(s, n)| s.turns[*n].weight * s.turns[*n].bots as f64).sum();
        out.insert(("A18_turn_stats", "bot_messages_per_turn"), per(bots, all, 1.0));
        let with: BTreeSet<&String> = turns.iter().map(|(session, _)| &session.id).collect();
        out.insert(("L14_msgs_per_session", "messages"), per(all, with.len() as f64, 1.0));
        let human = |turn: &Turn| {
            (turn.text.is_some() || turn.intent.is_some())
                && turn.intent.as_deref() != Some("session_start")
                && !turn.text.as_deref().unwrap_or_default().starts_with("EXTERNAL: ")
        };
        out.insert(("L3_messages", "messages"), count(weigh(&|_, turn| human(turn))));
        let answered: Vec<&Turn> =
            turns.iter().map(|(s, n)| &s.turns[*n]).filter(|turn| turn.response.is_some()).collect();
        let times: Vec<i64> = answered.iter().filter_map(|turn| turn.response).collect();
        let sum: f64 = answered.iter().map(|turn| turn.weight * turn.response.unwrap_or(0) as f64).sum();
        out.insert(("R7_response_time", "mean"), mean(sum / 1e6, all - without));
        out.insert(("R7_response_time", "answered"), count(all - without));
        out.insert(("R7_response_time", "turns"), count(all));
        for (name, p) in [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)] {
            out.insert(("R7_response_time", name), rank(&times, p));
        }
        let sure = |turn: &Turn| turn.intent.is_some() && turn.confidence.is_some();
        let low = self.question.definitions.low_confidence;
        let doubtful = weigh(&|_, turn| sure(turn) && turn.confidence.is_some_and(|c| c < low));
        out.insert(("X22_confidence", "below_threshold"), share(doubtful, weigh(&|_, turn| sure(turn))));
        let (mut same, mut later) = (0.0, 0.0);
        for (session, number) in turns {
            let Some(before) = number.checked_sub(1).map(|before| &session.turns[before]) else { continue };
            let turn = &session.turns[*number];
            later += turn.weight;
            if turn.template.is_some() && turn.template == before.template {
                same += turn.weight;
            }
        }
        out.insert(("X26_repeat", "responses"), share(same, later));
        let text = self.question.text.as_deref().unwrap_or_default().to_lowercase();
        let holds = |turn: &Turn| turn.text.as_ref().is_some_and(|own| own.to_lowercase().contains(&text));
        out.insert(("X39_search", "messages"), count(weigh(&|_, turn| holds(turn))));
        let found: BTreeSet<&String> =
            turns.iter().filter(|(s, n)| holds(&s.turns[*n])).map(|(session, _)| &session.id).collect();
        out.insert(("X39_search", "sessions"), count(found.len() as f64));
        let unknown = |turn: &Turn| {
            let text = turn.text.as_deref().map(plain).filter(|text| !text.is_empty())?;
            (self.is_missed(turn) && !self.question.examples.knows(&text)).then_some(text)
        };
        let texts: BTreeSet<String> = turns.iter().filter_map(|(s, n)| unknown(&s.turns[*n])).collect();
        out.insert(("L22_add_missed", "texts"), count(texts.len() as f64));
        out.insert(("L22_add_missed", "messages"), count(weigh(&|_, turn| unknown(turn).is_some())));
    }

    fn of_rows(
        &self,
        kept: &[&Session],
        turns: &[(&Session, usize)],
        out: &mut BTreeMap<(&'static str, &'static str), Number>,
    ) {
        let bots: Vec<(&Session, &Bot)> = kept
            .iter()
            .flat_map(|session| session.bots.iter().map(move |bot| (*session, bot)))
            .filter(|(_, bot)| self.in_range(bot.at))
            .collect();
        let weight: f64 = bots.iter().map(|(_, bot)| bot.weight).sum();
        let user: f64 = turns.iter().map(|(s, n)| s.turns[*n].weight).sum();
        out.insert(("X2_messages", "bot"), count(weight));
        out.insert(("X33_templates", "messages"), count(weight));
        out.insert(("X2_messages", "bot_per_user"), per(weight, user, 1.0));
        let in_turn = |s: &Session, bot: &Bot| {
            s.turns.iter().any(|turn| turn.numbers.0 <= bot.number && bot.number <= turn.numbers.1)
        };
        let outside = bots.iter().filter(|(session, bot)| !in_turn(session, bot)).count();
        out.insert(("X38_quality", "bot_messages_in_no_turn"), count(outside as f64));
        let events = || kept.iter().flat_map(|s| &s.events).filter(|event| self.in_range(event.0));
        out.insert(("X38_quality", "events"), count(events().count() as f64));
        out.insert(("X38_quality", "error_events"), count(events().filter(|event| event.1).count() as f64));
        let active: BTreeSet<&String> =
            bots.iter().map(|(s, _)| &s.id).chain(turns.iter().map(|(s, _)| &s.id)).collect();
        out.insert(("L2_sessions", "sessions"), count(active.len() as f64));
        // The last bot message of each session, by its time.
        let last: Vec<&Bot> =
            kept.iter().filter_map(|s| s.bots.last()).filter(|bot| self.in_range(bot.at)).collect();
        let named = &self.question.definitions.published_abandon_responses;
        let abandoned =
            last.iter().filter(|bot| bot.template.as_ref().is_some_and(|name| named.contains(name)));
        let number = per(abandoned.count() as f64, last.len() as f64, 1.0);
        out.insert(("R9_abandonment", "published"), number);
        let policies = || {
            let actions = kept.iter().flat_map(|s| &s.actions).filter(|action| self.in_range(action.0));
            actions.filter_map(|action| action.1.as_ref())
        };
        let fallback = policies().filter(|policy| policy.to_lowercase().contains("fallback")).count();
        out.insert(("X32_policy", "fallback"), share(fallback as f64, policies().count() as f64));
        let scores = kept.iter().flat_map(|s| &s.scores).copied();
        let slots = kept.iter().filter_map(|s| s.stars.as_ref()).filter_map(|(at, v)| Some((*at, stars(v)?)));
        let ratings: Vec<f64> = scores.chain(slots).filter(|r| self.in_range(r.0)).map(|r| r.1).collect();
        out.insert(("X10_csat", "ratings"), count(ratings.len() as f64));
        out.insert(("X10_csat", "mean"), mean(ratings.iter().sum(), ratings.len() as f64));
    }

    fn of_users(&self, sessions: &[&Session], out: &mut BTreeMap<(&'static str, &'static str), Number>) {
        let mut users: BTreeMap<&String, i64> = BTreeMap::new();
        for session in sessions {
            let (_, user, seen) = &self.store.senders[&session.sender];
            match user {
                Some(user) => users.insert(user, self.store.users[user]),
                None => users.insert(&session.sender, *seen),
            };
        }
        out.insert(("R2_users", "users"), count(users.len() as f64));
        let new = users.values().filter(|seen| self.in_range(**seen)).count();
        out.insert(("R2_users", "new"), count(new as f64));
    }
}

fn asks_for_human(intent: &str) -> bool {
    let plain = intent.to_lowercase().replace(['_', '-'], "");
    ["handoff", "handover", "tohuman", "humanagent", "liveagent", "toagent"]
        .iter()
        .any(|part| plain.contains(part))
}

fn is_test(session: &Session, model: &Name) -> bool {
    session.is_test || model.as_deref().is_some_and(|model| model == "DRAFT" || model.ends_with(":DRAFT"))
}

fn is_emulated(channel: &Name) -> bool {
    matches!(channel.as_deref(), Some("emulator" | "chatdown"))
}

/// Returns the number in a slot's value.
fn stars(value: &str) -> Option<f64> {
    value.trim_matches('"').parse().ok()
}

fn plain(text: &str) -> String {
    text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ")
}

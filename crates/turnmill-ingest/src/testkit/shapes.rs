//! Shapes of conversations at which a query could take more than linear time.

/// Divides a number of events into sessions, and each session into messages with answers.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Its name, for messages.
    pub name: &'static str,
    /// Returns the number of sessions for a number of events.
    pub sessions: fn(u32) -> u32,
    /// Returns the number of the assistant's answers to each message of the user.
    pub answers: fn(u32) -> u32,
}

/// The shapes. For each of them a query of the metrics takes at most twice the work for twice the
/// events.
pub const SHAPES: [Shape; 4] = [
    Shape { name: "one session that never ends", sessions: |_| 1, answers: |_| 1 },
    Shape { name: "sessions of ten events", sessions: |events| events / 10, answers: |_| 1 },
    Shape { name: "one message with very many answers", sessions: |_| 1, answers: |events| events - 1 },
    Shape { name: "messages without an answer", sessions: |_| 1, answers: |_| 0 },
];

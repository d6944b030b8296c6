//! Defines what assistants with flows, skills and agents say of an event beside its type's own
//! fields.

use std::borrow::Cow;

/// What the metadata and further keys of an event of a CALM or Mantle assistant say.
///
/// Each field belongs to the types that it names, and is empty for all others. It never holds a
/// prompt, an argument, result or error message of a tool, a search text or a value of a command.
///
/// ```
/// use turnmill_model::Details;
/// assert!(Details::default().is_empty());
/// assert!(!Details { has_failed: true, ..Details::default() }.is_empty());
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Details<'a> {
    /// Of a [`Flow`](crate::Body::Flow): whether it is a skill.
    pub is_skill: bool,
    /// Of a flow or skill that starts: `metadata.frame_id`, the frame that it runs in.
    pub frame_id: Option<Cow<'a, str>>,
    /// Of a flow or skill that starts: `metadata.frame_type`, how it was entered.
    pub frame_type: Option<Cow<'a, str>>,
    /// Why: of a flow or skill that starts `metadata.reason`, else `metadata.error_type`; of an
    /// agent that ends its `reason` or `status`; of `session_ended` `metadata._reason`.
    pub reason: Option<Cow<'a, str>>,
    /// Of `slot`: what filled it.
    pub filled_by: Option<Cow<'a, str>>,
    /// Of `bot`: `metadata.utter_source`, else `metadata.mantle_response_source`.
    pub generated_by: Option<Cow<'a, str>>,
    /// Of `action`: whether it failed.
    pub has_failed: bool,
    /// Of `action` and `bot_turn_ended`: how long the turn was processed.
    pub processing: Option<Processing<'a>>,
}

impl Details<'_> {
    /// Returns whether no field says anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Copies what is borrowed.
    #[must_use]
    pub fn into_owned(self) -> Details<'static> {
        let Self { is_skill, frame_id, frame_type, reason, filled_by, generated_by, has_failed, processing } =
            self;
        Details {
            is_skill,
            frame_id: owned(frame_id),
            frame_type: owned(frame_type),
            reason: owned(reason),
            filled_by: owned(filled_by),
            generated_by: owned(generated_by),
            has_failed,
            processing: processing.map(|processing| Processing {
                total_us: processing.total_us,
                parts: owned(processing.parts),
            }),
        }
    }
}

/// How long a turn was processed.
#[derive(Clone, Debug, PartialEq)]
pub struct Processing<'a> {
    /// Microseconds in all.
    pub total_us: i64,
    /// Its parts: a JSON object of milliseconds, as in `ext_turn.processing_parts`.
    pub parts: Option<Cow<'a, str>>,
}

pub(crate) fn owned(text: Option<Cow<'_, str>>) -> Option<Cow<'static, str>> {
    text.map(|text| Cow::Owned(text.into_owned()))
}

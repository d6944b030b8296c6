//! Costs and times that a business knows and no event tells.

/// What the metrics of savings, of agents' time and of satisfaction need besides the events.
///
/// A number that is `None` is not set up. Metrics that need it have no value then.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Business {
    /// Minutes that an agent needs for a conversation.
    pub agent_minutes: Option<f64>,
    /// Cost of a minute of an agent, in any currency.
    pub agent_minute_cost: Option<f64>,
    /// Cost of a session with the assistant, in the same currency.
    pub session_cost: Option<f64>,
    /// Lines of business.
    pub lines: Vec<BusinessLine>,
    /// Slot that holds the user's rating, where the source has no rating of its own.
    pub rating_slot: Option<String>,
}

/// One line of business with the intents that belong to it.
///
/// ```
/// use turnmill_analytics::BusinessLine;
/// let line: BusinessLine = "parcels=track_*,report_issue".parse()?;
/// assert_eq!((line.name.as_str(), line.intents.len()), ("parcels", 2));
/// assert!("parcels".parse::<BusinessLine>().is_err());
/// # Ok::<(), turnmill_analytics::UnknownLine>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusinessLine {
    /// Its name.
    pub name: String,
    /// Its intents; `*` is any text.
    pub intents: Vec<String>,
}

/// A text that is no line of business.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no line of business: write NAME=INTENT,INTENT")]
pub struct UnknownLine {
    /// The text.
    pub text: String,
}

impl std::str::FromStr for BusinessLine {
    type Err = UnknownLine;

    fn from_str(text: &str) -> Result<Self, UnknownLine> {
        let parts = text.split_once('=').filter(|(name, intents)| !name.is_empty() && !intents.is_empty());
        let (name, intents) = parts.ok_or_else(|| UnknownLine { text: text.to_owned() })?;
        Ok(Self { name: name.to_owned(), intents: intents.split(',').map(ToOwned::to_owned).collect() })
    }
}

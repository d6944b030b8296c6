//! Holds the decoders of a program by their names.

use std::fmt;
use std::sync::Arc;

use crate::{Decoder, Event, Reason, Record, Refused, SourceFacts};

/// Holds decoders by their names: one or more, of which one is the default.
///
/// A record is read by the decoder that its [source](crate::SourceFacts::decoder) names. If the
/// source names none, the default one reads it: the one that the registry was made from. Stores
/// keep the name with each record, so that the same decoder reads it again.
///
/// Cheap to clone and to share between threads.
///
/// ```
/// use turnmill_model::{Decoder, Decoders, Event, Record, Refused, SourceFacts};
///
/// /// Skips every record.
/// struct Silent(&'static str);
///
/// impl Decoder for Silent {
///     fn name(&self) -> &'static str {
///         self.0
///     }
///
///     fn decode<'a>(&self, _: &Record<'a>, _: &mut Vec<Event<'a>>) -> Result<(), Refused> {
///         Ok(())
///     }
///
///     fn kept(&self, _: &Record<'_>, _: u32) -> Option<Vec<u8>> {
///         None
///     }
/// }
///
/// let decoders = Decoders::from(Silent("chat")).with(Silent("calls"));
/// assert_eq!(decoders.names().collect::<Vec<_>>(), ["chat", "calls"]);
///
/// let facts = SourceFacts { decoder: Some("calls"), ..SourceFacts::default() };
/// assert_eq!(decoders.of(&facts)?.name(), "calls");
/// assert_eq!(decoders.of(&SourceFacts::default())?.name(), "chat");
/// assert!(decoders.of(&SourceFacts { decoder: Some("mail"), ..facts }).is_err());
/// # Ok::<(), Refused>(())
/// ```
#[derive(Clone)]
pub struct Decoders {
    default: Registered,
    others: Arc<[Registered]>,
}

/// A decoder with its name, which is asked for with each record.
#[derive(Clone)]
struct Registered {
    name: &'static str,
    decoder: Arc<dyn Decoder>,
}

impl Registered {
    fn new(decoder: impl Decoder + 'static) -> Self {
        Self { name: decoder.name(), decoder: Arc::new(decoder) }
    }
}

impl<D: Decoder + 'static> From<D> for Decoders {
    /// Makes a registry of one decoder, which is the default.
    fn from(decoder: D) -> Self {
        Self { default: Registered::new(decoder), others: Arc::default() }
    }
}

impl Decoders {
    /// Adds a decoder. It takes the place of one with the same name.
    #[must_use]
    pub fn with(self, decoder: impl Decoder + 'static) -> Self {
        let new = Registered::new(decoder);
        if self.default.name == new.name {
            return Self { default: new, ..self };
        }
        let others = self.others.iter().filter(|other| other.name != new.name).cloned();
        Self { others: others.chain([new.clone()]).collect(), ..self }
    }

    /// Returns the names, that of the default decoder first.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.all().map(|registered| registered.name)
    }

    /// Returns the default decoder.
    #[must_use]
    pub fn default_decoder(&self) -> &dyn Decoder {
        &*self.default.decoder
    }

    /// Returns the decoder with this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&dyn Decoder> {
        self.all().find(|registered| registered.name == name).map(|registered| &*registered.decoder)
    }

    /// Returns the decoder that a source's records need.
    ///
    /// # Errors
    ///
    /// [`Refused`] with [`Reason::UnknownDecoder`] if there is no decoder with the name that the
    /// source gives.
    pub fn of(&self, facts: &SourceFacts<'_>) -> Result<&dyn Decoder, Refused> {
        self.registered(facts).map(|registered| &*registered.decoder)
    }

    /// Decodes `record` with the decoder that its source names, see [`Decoder::decode`]. Returns
    /// that decoder's name.
    ///
    /// # Errors
    ///
    /// [`Refused`] by the decoder, or because there is none with that name.
    pub fn decode<'a>(&self, record: &Record<'a>, out: &mut Vec<Event<'a>>) -> Result<&'static str, Refused> {
        let registered = self.registered(&record.facts)?;
        registered.decoder.decode(record, out)?;
        Ok(registered.name)
    }

    /// Returns the decoder that certainly reads a payload or file that begins with `head`, if one
    /// other than the default does. It has to have an [unwrapper](Decoder::unwrapper).
    #[must_use]
    pub fn claiming(&self, head: &[u8]) -> Option<&dyn Decoder> {
        let claims =
            |decoder: &&dyn Decoder| decoder.unwrapper().is_some_and(|unwrapper| unwrapper.claims(head));
        self.others.iter().map(|registered| &*registered.decoder).find(claims)
    }

    /// Returns what has to be kept of a plain record's event, see [`Decoder::kept`].
    #[must_use]
    pub fn kept(&self, record: &Record<'_>, ordinal: u32) -> Option<Vec<u8>> {
        self.of(&record.facts).ok()?.kept(record, ordinal)
    }

    fn all(&self) -> impl Iterator<Item = &Registered> {
        [&self.default].into_iter().chain(self.others.iter())
    }

    fn registered(&self, facts: &SourceFacts<'_>) -> Result<&Registered, Refused> {
        let Some(name) = facts.decoder else { return Ok(&self.default) };
        self.all().find(|registered| registered.name == name).ok_or_else(|| {
            let known: Vec<&str> = self.names().collect();
            let detail = format!("no decoder is named `{name}`; this program has: {}", known.join(", "));
            Refused::new(Reason::UnknownDecoder, detail)
        })
    }
}

impl fmt::Debug for Decoders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

//! A question made concrete for one store: exact names, boundaries in UTC, one dialect.

use turnmill_model::Micros;
use turnmill_sql::Dialect;

use crate::bucket::{Bucket, TooManyBuckets};
use crate::business::Business;
use crate::definitions::{Definitions, any_fits};
use crate::draft::Draft;
use crate::examples::Examples;
use crate::funnel::Funnel;
use crate::names::StoreNames;
use crate::paths::{PathOptions, Return};
use crate::question::{During, Filters, Over, Property, Question, When};
use crate::range::{Compare, Extent, Range, Span};
use crate::zone::Zone;

/// The stretches of time that a query gives one result each for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Slices {
    /// One, the whole range.
    Whole(Span),
    /// Buckets of the range.
    Buckets(Vec<Range>),
    /// The rows of a table `bucket`, which the text around the query defines.
    Table,
}

/// The parts of a query that another tool fills in: its text has no bound values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Template {
    /// Returns the condition that a column has one of the channels chosen in the tool.
    pub(crate) channel: fn(&str) -> String,
}

/// What the plans of metrics are made from.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    pub(crate) dialect: Dialect,
    pub(crate) zone: Zone,
    pub(crate) filters: Filters,
    pub(crate) definitions: Definitions,
    pub(crate) top: usize,
    pub(crate) funnel: Funnel,
    pub(crate) paths: PathOptions,
    pub(crate) retention: Return,
    pub(crate) anchor: Option<String>,
    pub(crate) compare: Option<Compare>,
    pub(crate) against_models: Vec<Option<String>>,
    pub(crate) hide_null: bool,
    pub(crate) exclude: Vec<String>,
    pub(crate) breakdown: Option<Property>,
    pub(crate) text: Option<String>,
    pub(crate) examples: Examples,
    pub(crate) business: Business,
    /// Whether rows of messages and turns may stand for more than one of the source.
    pub(crate) is_sampled: bool,
    /// Whether the reader may see the ledger of records.
    pub(crate) has_ledger: bool,
    /// The range asked for.
    pub(crate) span: Span,
    pub(crate) slices: Slices,
    /// Set if the queries are texts for another tool.
    pub(crate) template: Option<Template>,
    /// The store's first and newest event.
    pub(crate) extent: Option<Extent>,
    pub(crate) as_of: Micros,
    /// Width of the buckets of the series.
    pub(crate) bucket: Option<Bucket>,
    /// Intents with which users ask for a human, of those in the store.
    pub(crate) handover_intents: Vec<String>,
    /// Responses of a fallback, of those in the store.
    pub(crate) fallback_responses: Vec<String>,
}

impl Scope {
    pub(crate) fn new(question: &Question, names: &StoreNames, dialect: Dialect) -> Self {
        let extent = names.extent;
        let newest = extent.map(|extent| extent.newest).unwrap_or_default();
        let span = match question.when {
            When::Span(span) => span,
            When::Last(last) => last.span(newest, question.zone),
        };
        let bucket = match question.over {
            Over::Nothing => None,
            Over::Buckets(bucket) => Some(bucket),
            Over::Finest => extent.map(|extent| Bucket::finest(span, extent, question.zone)),
        };
        let definitions = exact(question.definitions.clone(), names);
        let of = |patterns: &[String], names: &[String]| {
            names.iter().filter(|name| any_fits(patterns, name)).cloned().collect()
        };
        Self {
            dialect,
            zone: question.zone,
            filters: question.filters.clone(),
            top: question.top,
            funnel: question.funnel.clone(),
            paths: question.paths.clone(),
            retention: question.retention.clone(),
            anchor: question.anchor.clone(),
            compare: question.compare,
            against_models: question.against_models.clone(),
            hide_null: question.hide_null,
            exclude: question.exclude.clone(),
            breakdown: question.breakdown,
            text: question.text.clone(),
            examples: question.examples.clone(),
            business: business(&question.business, names),
            is_sampled: names.is_sampled,
            has_ledger: names.has_ledger,
            span,
            slices: Slices::Whole(span),
            template: None,
            extent,
            as_of: question.as_of.unwrap_or(newest),
            bucket,
            handover_intents: names
                .intents
                .iter()
                .filter(|intent| definitions.is_handover(intent))
                .cloned()
                .collect(),
            fallback_responses: of(&definitions.fallback_responses, &names.first_responses),
            definitions,
        }
    }

    /// Returns a scope whose queries are texts for another tool, in PostgreSQL's dialect. Their
    /// slices are the rows of a table `bucket`, and sessions are over as of the newest event.
    pub(crate) fn template(template: Template) -> Self {
        let scope = Self::new(&Question::default(), &StoreNames::default(), Dialect::Postgres);
        Self { slices: Slices::Table, template: Some(template), ..scope }
    }

    /// Returns the scope of the series, or `None` if none is asked for or the store is empty.
    pub(crate) fn series(&self) -> Result<Option<Self>, TooManyBuckets> {
        let (Some(bucket), Some(extent)) = (self.bucket, self.extent) else { return Ok(None) };
        let list = bucket.list(self.span, extent, self.zone)?;
        Ok(Some(Self { slices: Slices::Buckets(list), ..self.clone() }))
    }

    /// Returns the scope of the period to compare with, or `None` if there is none.
    pub(crate) fn compared(&self) -> Option<Self> {
        if !self.against_models.is_empty() {
            let filters = Filters { models: self.against_models.clone(), ..self.filters.clone() };
            return Some(Self { filters, ..self.clone() });
        }
        let range = self.compare?.range(self.span, self.zone)?;
        let span = Span { from: Some(range.from), to: Some(range.to) };
        Some(Self { span, slices: Slices::Whole(span), ..self.clone() })
    }

    /// Returns the same scope for questions whose sessions are always those that start in it.
    pub(crate) fn by_start(&self) -> Self {
        let filters = Filters { during: During::Started, ..self.filters.clone() };
        Self { filters, ..self.clone() }
    }

    /// Begins a query.
    pub(crate) fn draft(&self) -> Draft<'_> {
        Draft::new(self)
    }

    /// Returns the start of the first slice, or `None` of an open range.
    pub(crate) fn start(&self) -> Option<Micros> {
        match &self.slices {
            Slices::Whole(span) => span.from,
            Slices::Buckets(ranges) => ranges.first().map(|range| range.from),
            Slices::Table => None,
        }
    }

    /// Returns the range as the store has it: from the first event or later to past the newest or
    /// earlier. `None` of an empty store or range.
    pub(crate) fn covered(&self) -> Option<Range> {
        let extent = self.extent?;
        let from = self.span.from.map_or(extent.first, |from| from.max(extent.first));
        let end = Micros(extent.newest.0 + 1);
        let to = self.span.to.map_or(end, |to| to.min(end));
        (from < to).then_some(Range { from, to })
    }
}

/// Replaces each pattern of the lists by the names of the store that it fits. Names without a `*`
/// stay as they are.
fn exact(mut definitions: Definitions, names: &StoreNames) -> Definitions {
    let lists = [
        (&mut definitions.handover_actions, &names.actions),
        (&mut definitions.fallback_intents, &names.intents),
        (&mut definitions.greetings, &names.intents),
        (&mut definitions.error_responses, &names.responses),
        (&mut definitions.goal_markers, &names.markers),
        (&mut definitions.escalation_markers, &names.markers),
    ];
    for (list, names) in lists {
        *list = looked_up(list, names);
    }
    definitions
}

fn business(business: &Business, names: &StoreNames) -> Business {
    let mut business = business.clone();
    for line in &mut business.lines {
        line.intents = looked_up(&line.intents, &names.intents);
    }
    business
}

fn looked_up(patterns: &[String], names: &[String]) -> Vec<String> {
    let (patterns, mut exact): (Vec<String>, Vec<String>) =
        patterns.iter().cloned().partition(|pattern| pattern.contains('*'));
    if !patterns.is_empty() {
        exact.extend(names.iter().filter(|name| any_fits(&patterns, name)).cloned());
    }
    exact
}

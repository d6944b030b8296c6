//! Metabase's board: a collection in its representation format, one YAML file for each card.

use serde_json::{Value, json};

use super::panels::PANELS;
use super::yaml::yaml;
use super::{Column, Panel, Shows, Tool};
use crate::scope::Template;

/// Name that the database has in Metabase.
const DATABASE: &str = "turnmill";
/// Metabase's own user, which every instance has.
const CREATOR: &str = "internal@metabase.com";
const COLLECTION: &str = "turnmill";
const BOARD: &str = "board";

const TOOL: Tool = Tool {
    // A text between [[ and ]] is left out while its variable has no value. The last day is part of
    // the range.
    range: (
        "coalesce([[CAST({{from}} AS timestamp),]] \
         (SELECT date_trunc('day', min(first_seen)) FROM rasa_sender))",
        "coalesce([[CAST({{to}} AS timestamp) + interval '1 day',]] \
         (SELECT date_trunc('day', max(last_seen)) + interval '1 day' FROM rasa_sender))",
    ),
    bucket: "{{bucket}}",
    template: Template {
        channel: |column| format!("TRUE [[AND coalesce({column}, '(none)') = {{{{channel}}}}]]"),
    },
};

/// A variable of the SQL, which is a filter of the board.
struct Filter {
    slug: &'static str,
    name: &'static str,
    /// Type of the variable, and of the filter.
    kinds: (&'static str, &'static str),
    uuid: &'static str,
}

const FILTERS: [Filter; 4] = [
    Filter {
        slug: "from",
        name: "From",
        kinds: ("date", "date/single"),
        uuid: "3f0c5b1e-6c1d-4b52-9d0a-5a1c3e7f9b01",
    },
    Filter {
        slug: "to",
        name: "To",
        kinds: ("date", "date/single"),
        uuid: "3f0c5b1e-6c1d-4b52-9d0a-5a1c3e7f9b02",
    },
    Filter {
        slug: "bucket",
        name: "Bucket",
        kinds: ("text", "string/="),
        uuid: "3f0c5b1e-6c1d-4b52-9d0a-5a1c3e7f9b03",
    },
    Filter {
        slug: "channel",
        name: "Channel",
        kinds: ("text", "string/="),
        uuid: "3f0c5b1e-6c1d-4b52-9d0a-5a1c3e7f9b04",
    },
];

/// A file of a board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoardFile {
    /// Its path in the folder that Metabase imports.
    pub path: String,
    /// Its content.
    pub text: String,
}

/// Returns the files of the board for Metabase. Their database is the one that is named `turnmill`
/// there.
#[must_use]
pub fn metabase() -> Vec<BoardFile> {
    let file = |path: String, value: &Value| BoardFile { path, text: yaml(value) };
    let collection = json!({
        "name": "turnmill",
        "entity_id": entity("collection"),
        "description": "Metrics of conversations, made from turnmill's descriptions.",
        "slug": COLLECTION,
        "serdes/meta": meta(&entity("collection"), COLLECTION, "Collection"),
    });
    let mut files = vec![
        file(format!("collections/main/{COLLECTION}.yaml"), &collection),
        file(format!("collections/main/{COLLECTION}/{BOARD}.yaml"), &dashboard()),
    ];
    files.extend(PANELS.iter().map(|panel| {
        let path = format!("collections/main/{COLLECTION}/{}.yaml", panel.key.replace('-', "_"));
        file(path, &card(panel))
    }));
    files
}

/// Returns the id of an entity: 21 letters, digits, `_` or `-`.
fn entity(key: &str) -> String {
    format!("tm-{key:_<18.18}")
}

fn meta(id: &str, label: &str, model: &str) -> Value {
    json!([{"id": id, "label": label, "model": model}])
}

fn card(panel: &Panel) -> Value {
    let sql = panel.sql(&TOOL);
    let used = || FILTERS.iter().filter(|filter| sql.contains(&format!("{{{{{}}}}}", filter.slug)));
    let tags: Vec<Value> = used().map(Filter::tag).collect();
    let parameters: Vec<Value> = used()
        .map(|filter| {
            let mut parameter = filter.parameter(filter.uuid);
            parameter["target"] = filter.target();
            parameter
        })
        .collect();
    let (display, settings) = drawn(panel);
    json!({
        "name": panel.title(),
        "description": panel.metric.definition,
        "entity_id": entity(panel.key),
        "creator_id": CREATOR,
        "collection_id": entity("collection"),
        "type": "question",
        "display": display,
        "dataset_query": {
            "lib/type": "mbql/query",
            "database": DATABASE,
            "stages": [{"lib/type": "mbql.stage/native", "native": sql, "template-tags": tags}],
        },
        "parameters": parameters,
        "parameter_mappings": [],
        "visualization_settings": settings,
        "serdes/meta": meta(&entity(panel.key), &panel.key.replace('-', "_"), "Card"),
    })
}

/// Returns the form of a card and its settings, which name columns of its rows.
fn drawn(panel: &Panel) -> (&'static str, Value) {
    let names = |columns: &[Column]| -> Vec<&str> { columns.iter().map(|column| column.name).collect() };
    match &panel.shows {
        Shows::Number(number) => ("scalar", json!({"scalar.field": number.name})),
        Shows::Series { numbers, stacked: false } => {
            ("line", json!({"graph.dimensions": ["time"], "graph.metrics": names(numbers)}))
        }
        Shows::Series { numbers, stacked: true } => (
            "bar",
            json!({
                "graph.dimensions": ["time"],
                "graph.metrics": names(numbers),
                "stackable.stack_type": "stacked",
            }),
        ),
        Shows::Groups { group, count } => (
            "bar",
            json!({
                "graph.dimensions": ["time", group],
                "graph.metrics": [count],
                "stackable.stack_type": "stacked",
            }),
        ),
        Shows::List { columns, bars: true, .. } => {
            let names = names(columns);
            ("row", json!({"graph.dimensions": names.get(..1), "graph.metrics": names.get(1..2)}))
        }
        Shows::List { bars: false, .. } => ("table", json!({})),
    }
}

fn dashboard() -> Value {
    let (mut column, mut line, mut height) = (0, 0, 0);
    let id = entity(BOARD);
    let mut cards = Vec::new();
    for panel in PANELS {
        let (width, tall) = panel.size;
        if column + width > 24 {
            (column, line, height) = (0, line + height, 0);
        }
        let sql = panel.sql(&TOOL);
        let mappings: Vec<Value> = FILTERS
            .iter()
            .filter(|filter| sql.contains(&format!("{{{{{}}}}}", filter.slug)))
            .map(|filter| {
                json!({
                    "card_id": entity(panel.key),
                    "parameter_id": filter.slug,
                    "target": filter.target(),
                })
            })
            .collect();
        let place = entity(&format!("at-{}", panel.key));
        cards.push(json!({
            "entity_id": place,
            "card_id": entity(panel.key),
            "row": line,
            "col": column,
            "size_x": width,
            "size_y": tall,
            "parameter_mappings": mappings,
            "visualization_settings": {},
            "serdes/meta": [
                {"id": id, "model": "Dashboard"},
                {"id": place, "model": "DashboardCard"},
            ],
        }));
        (column, height) = (column + width, height.max(tall));
    }
    let parameters: Vec<Value> = FILTERS
        .iter()
        .map(|filter| {
            let mut parameter = filter.parameter(filter.slug);
            if filter.slug == "bucket" {
                parameter["values_query_type"] = "list".into();
                parameter["values_source_type"] = "static-list".into();
                parameter["values_source_config"] =
                    json!({"values": [["hour"], ["day"], ["week"], ["month"]]});
            }
            parameter
        })
        .collect();
    json!({
        "name": "Conversations",
        "description": "Buckets are in UTC. docs/metrics.md of turnmill defines each metric.",
        "entity_id": id,
        "creator_id": CREATOR,
        "collection_id": entity("collection"),
        "width": "full",
        "parameters": parameters,
        "dashcards": cards,
        "serdes/meta": meta(&id, BOARD, "Dashboard"),
    })
}

impl Filter {
    fn tag(&self) -> Value {
        let mut tag = json!({
            "type": self.kinds.0,
            "name": self.slug,
            "id": self.uuid,
            "display-name": self.name,
        });
        if self.slug == "bucket" {
            tag["default"] = "day".into();
            tag["required"] = true.into();
        }
        tag
    }

    fn parameter(&self, id: &str) -> Value {
        let mut parameter = json!({"id": id, "name": self.name, "slug": self.slug, "type": self.kinds.1});
        if self.slug == "bucket" {
            parameter["default"] = json!(["day"]);
            parameter["required"] = true.into();
        }
        parameter
    }

    fn target(&self) -> Value {
        json!(["variable", ["template-tag", self.slug]])
    }
}

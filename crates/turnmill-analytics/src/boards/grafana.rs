//! Grafana's board: the JSON model of a dashboard.

use serde_json::{Value, json};

use super::panels::PANELS;
use super::{Column, Panel, Shows, Tool};
use crate::metric::Unit;
use crate::scope::Template;

/// Kind of the data source.
const SOURCE: &str = "grafana-postgresql-datasource";

const TOOL: Tool = Tool {
    range: ("CAST($__timeFrom() AS timestamp)", "CAST($__timeTo() AS timestamp)"),
    bucket: "'$bucket'",
    template: Template {
        channel: |column| format!("coalesce({column}, '(none)') IN (${{channel:sqlstring}})"),
    },
};

/// Returns the board for Grafana, with panels over a PostgreSQL data source.
#[must_use]
pub fn grafana() -> String {
    let (mut x, mut y, mut row) = (0, 0, 0);
    let mut panels = Vec::new();
    for (id, panel) in (1..).zip(PANELS) {
        let (width, height) = panel.size;
        if x + width > 24 {
            (x, y, row) = (0, y + row, 0);
        }
        let place = json!({"x": x, "y": y, "w": width, "h": height});
        panels.push(drawn(panel, id, &place));
        (x, row) = (x + width, row.max(height));
    }
    let widths = ["hour", "day", "week", "month"]
        .map(|name| json!({"selected": name == "day", "text": name, "value": name}));
    let board = json!({
        "uid": "turnmill-conversations",
        "title": "Conversations",
        "description": "turnmill: metrics of conversations. Buckets are in UTC. \
                        docs/metrics.md defines each metric.",
        "tags": ["turnmill"],
        "timezone": "utc",
        "editable": true,
        "graphTooltip": 1,
        "schemaVersion": 39,
        "version": 1,
        "time": {"from": "now-28d", "to": "now"},
        "refresh": "",
        "annotations": {"list": []},
        "links": [],
        "panels": panels,
        "templating": {"list": [
            {
                "name": "datasource",
                "label": "Database",
                "type": "datasource",
                "query": SOURCE,
                "current": {},
                "hide": 0,
                "includeAll": false,
                "multi": false,
                "refresh": 1,
                "regex": "",
                "skipUrlSync": false,
            },
            {
                "name": "bucket",
                "label": "Bucket",
                "type": "custom",
                "query": "hour,day,week,month",
                "current": {"selected": true, "text": "day", "value": "day"},
                "hide": 0,
                "includeAll": false,
                "multi": false,
                "options": widths,
                "skipUrlSync": false,
            },
            {
                "name": "channel",
                "label": "Channel",
                "type": "query",
                "datasource": source(),
                "query": "SELECT DISTINCT coalesce(channel, '(none)') AS channel FROM (\
                          SELECT channel FROM ext_session UNION SELECT channel FROM ext_turn) c ORDER BY 1",
                "current": {"selected": true, "text": ["All"], "value": ["$__all"]},
                "hide": 0,
                "includeAll": true,
                "multi": true,
                "refresh": 2,
                "regex": "",
                "skipUrlSync": false,
                "sort": 1,
            },
        ]},
    });
    format!("{board:#}\n")
}

fn source() -> Value {
    json!({"type": SOURCE, "uid": "${datasource}"})
}

fn drawn(panel: &Panel, id: u32, place: &Value) -> Value {
    let over_time = matches!(panel.shows, Shows::Series { .. } | Shows::Groups { .. });
    let (kind, options, custom) = match &panel.shows {
        Shows::Number(_) => (
            "stat",
            json!({
                "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": false},
                "colorMode": "none",
                "graphMode": "none",
                "textMode": "value",
            }),
            json!({}),
        ),
        Shows::Series { stacked: false, .. } => (
            "timeseries",
            over_time_options(),
            json!({"drawStyle": "line", "lineWidth": 2, "showPoints": "auto", "spanNulls": false}),
        ),
        Shows::Series { stacked: true, .. } | Shows::Groups { .. } => (
            "timeseries",
            over_time_options(),
            json!({
                "drawStyle": "bars",
                "fillOpacity": 80,
                "lineWidth": 0,
                "stacking": {"group": "A", "mode": "normal"},
            }),
        ),
        Shows::List { columns, bars: true, .. } => (
            "barchart",
            json!({
                "orientation": "horizontal",
                "xField": columns.first().map(|column| column.name),
                "showValue": "auto",
                "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": false},
                "tooltip": {"mode": "multi", "sort": "none"},
            }),
            json!({"fillOpacity": 80, "lineWidth": 0}),
        ),
        Shows::List { bars: false, .. } => {
            ("table", json!({"showHeader": true, "cellHeight": "sm"}), json!({"align": "auto"}))
        }
    };
    let columns: &[Column] = match &panel.shows {
        Shows::Number(number) => std::slice::from_ref(number),
        Shows::Series { numbers, .. } => numbers,
        Shows::Groups { .. } => &[],
        Shows::List { columns, .. } => columns,
    };
    let list = matches!(panel.shows, Shows::List { .. });
    let unit = if list { None } else { columns.first().and_then(|column| column.unit) };
    let mut defaults = json!({"unit": unit.map_or("none", name_of), "custom": custom});
    if unit == Some(Unit::Percent) {
        defaults["min"] = 0.into();
        defaults["max"] = 100.into();
    }
    // Columns of a list have units of their own. Bars show the count alone.
    let bars = matches!(panel.shows, Shows::List { bars: true, .. });
    let overrides: Vec<Value> = columns
        .iter()
        .filter(|_| list)
        .filter_map(|column| {
            let unit = column.unit?;
            let properties = if bars && unit == Unit::Percent {
                json!([{"id": "custom.hideFrom", "value": {"legend": true, "tooltip": false, "viz": true}},
                   {"id": "unit", "value": "percent"}])
            } else {
                json!([{"id": "unit", "value": name_of(unit)}])
            };
            Some(json!({"matcher": {"id": "byName", "options": column.name}, "properties": properties}))
        })
        .collect();
    json!({
        "id": id,
        "type": kind,
        "title": panel.title(),
        "description": panel.metric.definition,
        "datasource": source(),
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": overrides},
        "options": options,
        "targets": [{
            "datasource": source(),
            "editorMode": "code",
            "format": if over_time { "time_series" } else { "table" },
            "rawQuery": true,
            "rawSql": panel.sql(&TOOL),
            "refId": "A",
        }],
    })
}

fn over_time_options() -> Value {
    json!({
        "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": true},
        "tooltip": {"mode": "multi", "sort": "none"},
    })
}

/// Returns Grafana's name of a unit.
fn name_of(unit: Unit) -> &'static str {
    match unit {
        Unit::Percent | Unit::Points => "percent",
        Unit::Fraction => "percentunit",
        Unit::Seconds => "s",
        Unit::Milliseconds => "ms",
        Unit::Count | Unit::Money | Unit::Ratio | Unit::Rows => "none",
    }
}

"""Makes datasets over the views and five charts in a running Superset, through its REST API, and
compares the numbers of each chart with `turnmill report`: over all time, and with a time filter.

Usage: check.py ADDRESS PASSWORD DATABASE-OF-THE-READER STORE TURNMILL
"""

import json
import subprocess
import sys

import requests

# A range inside the capture. Superset's times have no zone and are UTC here.
SINCE, UNTIL = "2026-11-21T01:45:40", "2026-11-21T01:46:10"

VIEWS = {
    "turnmill_session": "started_at",
    "turnmill_turn": "asked_at",
    "turnmill_user_message": "sent_at",
    "turnmill_bot_message": "sent_at",
    "turnmill_slot": "set_at",
    "turnmill_marker": "met_at",
}


def metric(label, sql):
    return {"expressionType": "SQL", "sqlExpression": sql, "label": label}


# Name, kind of the chart, view, grouping columns, metrics, whether by day, limit.
CHARTS = [
    ("Sessions", "big_number_total", "turnmill_session", [], [metric("sessions", "count(*)")]),
    (
        "Endings",
        "echarts_timeseries_bar",
        "turnmill_session",
        ["ending"],
        [metric("sessions", "count(*)")],
    ),
    (
        "Response time",
        "echarts_timeseries_line",
        "turnmill_turn",
        [],
        [metric("mean", "avg(response_seconds)")],
    ),
    (
        "Missed turns",
        "big_number_total",
        "turnmill_turn",
        [],
        [metric("missed", "100.0 * count(*) FILTER (WHERE is_missed) / nullif(count(*), 0)")],
    ),
    (
        "Responses",
        "table",
        "turnmill_bot_message",
        ["template"],
        [metric("messages", "count(*)")],
    ),
]


class Superset:
    def __init__(self, address, password):
        self.address = address
        self.session = requests.Session()
        login = {"username": "admin", "password": password, "provider": "db", "refresh": False}
        token = self.call("POST", "security/login", login)["access_token"]
        self.session.headers["Authorization"] = f"Bearer {token}"

    def call(self, method, path, body=None):
        address = f"{self.address}/api/v1/{path}"
        answer = self.session.request(method, address, json=body, timeout=300)
        if answer.status_code >= 300:
            sys.exit(f"{method} {path}: {answer.status_code} {answer.text[:2000]}")
        return answer.json()

    def rows(self, chart, time_range):
        """Returns the rows of a stored chart, asked as its page asks, with a time range."""
        stored = self.call("GET", f"chart/{chart}")["result"]
        context = json.loads(stored["query_context"])
        for query in context["queries"]:
            query["time_range"] = time_range
            # Where a chart keeps its time range as a filter, a dashboard replaces that one.
            for clause in query["filters"]:
                if clause["op"] == "TEMPORAL_RANGE":
                    clause["val"] = time_range
        result = self.call("POST", "chart/data", context)["result"][0]
        if result.get("error"):
            sys.exit(f"chart {chart}: {result['error']}")
        return result["data"], result["query"]


def report(turnmill, store, name, *options):
    command = [turnmill, "report", store, name, "--format", "json", *options]
    output = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(output.stdout)


def expected(turnmill, store, name, span):
    """Returns the numbers of a chart as turnmill reports them."""
    if name == "Sessions":
        value = report(turnmill, store, "R3", *span)["values"]["sessions"]["value"]
        return {("sessions",): value}
    if name == "Endings":
        answer = report(turnmill, store, "three_ways_to_end", "--by", "day", *span)
        found = {}
        for series in answer["series"]:
            for point in series["points"]:
                if point["value"]:
                    # The first day of a range is cut; Superset shows its midnight.
                    found[(point["from"][:10], series["name"])] = point["value"]
        return found
    if name == "Response time":
        answer = report(turnmill, store, "R7", "--by", "day", *span)
        mean = next(series for series in answer["series"] if series["name"] == "mean")
        return {(p["from"][:10],): p["value"] for p in mean["points"] if p["value"] is not None}
    if name == "Missed turns":
        return {("missed",): report(turnmill, store, "X24", *span)["values"]["missed"]["value"]}
    answer = report(turnmill, store, "X33", "--top", "1000", *span)
    at = [answer["columns"].index(column) for column in ("response", "messages")]
    return {(row[at[0]],): row[at[1]] for row in answer["rows"]}


def shown(name, rows):
    """Returns the numbers of a chart as Superset answers them."""
    def day(row):
        # Milliseconds since 1970, or a text.
        time = row["__timestamp"]
        if isinstance(time, (int, float)):
            from datetime import datetime, timezone

            time = datetime.fromtimestamp(time / 1000, timezone.utc).isoformat()
        return time[:10]

    if name == "Sessions":
        return {("sessions",): rows[0]["sessions"]}
    if name == "Endings":
        return {(day(row), row["ending"]): row["sessions"] for row in rows if row["sessions"]}
    if name == "Response time":
        return {(day(row),): row["mean"] for row in rows if row["mean"] is not None}
    if name == "Missed turns":
        return {("missed",): rows[0]["missed"]}
    return {(row["template"],): row["messages"] for row in rows}


def close(one, other):
    if one.keys() != other.keys():
        return False
    return all(
        abs(float(one[key]) - float(other[key])) <= 1e-9 * max(1.0, abs(float(other[key])))
        for key in one
    )


def main():
    address, password, reader, store, turnmill = sys.argv[1:]
    superset = Superset(address, password)
    body = {"database_name": "turnmill", "sqlalchemy_uri": reader, "expose_in_sqllab": True}
    database = superset.call("POST", "database/", body)["id"]
    datasets = {}
    for view, time in VIEWS.items():
        body = {"database": database, "schema": "public", "table_name": view}
        datasets[view] = superset.call("POST", "dataset/", body)["id"]
        made = superset.call("GET", f"dataset/{datasets[view]}")["result"]
        columns = {column["column_name"]: column for column in made["columns"]}
        if not columns[time]["is_dttm"]:
            sys.exit(f"{view}: Superset does not see that {time} is a time")
        superset.call("PUT", f"dataset/{datasets[view]}", {"main_dttm_col": time})
    print(f"datasets: {len(datasets)}, each with its time column")

    failures = 0
    for name, kind, view, groups, metrics in CHARTS:
        dataset, time = datasets[view], VIEWS[view]
        over_time = kind.startswith("echarts_timeseries")
        columns = list(groups)
        if over_time:
            columns.insert(
                0,
                {
                    "timeGrain": "P1D",
                    "columnType": "BASE_AXIS",
                    "sqlExpression": time,
                    "label": "__timestamp",
                    "expressionType": "SQL",
                },
            )
        query = {
            "columns": columns,
            "metrics": metrics,
            "filters": [{"col": time, "op": "TEMPORAL_RANGE", "val": "No filter"}],
            "granularity": time,
            "extras": {"time_grain_sqla": "P1D"} if over_time else {},
            "row_limit": 10000,
            "orderby": [],
        }
        params = {
            "viz_type": kind,
            "datasource": f"{dataset}__table",
            "metrics": metrics,
            "groupby": groups,
            "adhoc_filters": [
                {
                    "clause": "WHERE",
                    "expressionType": "SIMPLE",
                    "subject": time,
                    "operator": "TEMPORAL_RANGE",
                    "comparator": "No filter",
                }
            ],
        }
        context = {
            "datasource": {"id": dataset, "type": "table"},
            "queries": [query],
            "form_data": params,
            "result_format": "json",
            "result_type": "full",
        }
        body = {
            "slice_name": name,
            "viz_type": kind,
            "datasource_id": dataset,
            "datasource_type": "table",
            "params": json.dumps(params),
            "query_context": json.dumps(context),
        }
        chart = superset.call("POST", "chart/", body)["id"]
        for title, time_range, span in (
            ("all time", "No filter", []),
            ("filtered", f"{SINCE} : {UNTIL}", ["--since", SINCE + "Z", "--until", UNTIL + "Z"]),
        ):
            rows, sql = superset.rows(chart, time_range)
            ours, theirs = expected(turnmill, store, name, span), shown(name, rows)
            equal = close(ours, theirs) and bool(ours)
            total = sum(float(value) for value in ours.values())
            print(f"{name} ({view}), {title}: {len(ours)} numbers, sum {total:.6g}:",
                  "equal" if equal else "DIFFERENT")
            if not equal:
                failures += 1
                print(f"  turnmill: {ours}\n  Superset: {theirs}\n  {sql}")
    if failures:
        sys.exit(f"{failures} of {2 * len(CHARTS)} comparisons differ")
    print(f"{2 * len(CHARTS)} of {2 * len(CHARTS)} comparisons equal")


main()

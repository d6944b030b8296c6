"""Reads a dashboard with the types of Grafana's foundation SDK, which are generated from its
schemas, and fails if one of its fields is unknown to them or has another type.

Usage: check_grafana.py DASHBOARD.json
"""

import json
import sys

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import barchart, dashboard, stat, table, timeseries


def differences(given, read, path=""):
    """Returns where what was read lacks or changes something that is in the file."""
    if isinstance(given, dict) and isinstance(read, dict):
        for key, value in given.items():
            if key not in read:
                # A list of a filter's choices is empty until Grafana has asked for them.
                yield f"{path}/{key}"
            else:
                yield from differences(value, read[key], f"{path}/{key}")
    elif isinstance(given, list) and isinstance(read, list):
        if len(given) != len(read):
            yield path
        for at, (one, other) in enumerate(zip(given, read)):
            yield from differences(one, other, f"{path}/{at}")
    elif given != read:
        yield f"{path}: {given!r} was read as {read!r}"


def plain(value):
    return json.loads(JSONEncoder().encode(value))


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        board = json.load(file)
    wrong = list(differences(board, plain(dashboard.Dashboard.from_json(board))))
    kinds = {"barchart": barchart, "stat": stat, "table": table, "timeseries": timeseries}
    for panel in board["panels"]:
        kind = kinds[panel["type"]]
        path = f"panel {panel['id']} ({panel['title']})"
        options = kind.Options.from_json(panel["options"])
        wrong += differences(panel["options"], plain(options), f"{path}: options")
        custom = panel["fieldConfig"]["defaults"].get("custom")
        fields = getattr(kind, "FieldConfig", None)
        if custom and fields:
            wrong += differences(custom, plain(fields.from_json(custom)), f"{path}: custom")
    if wrong:
        sys.exit("\n".join(wrong))
    print(f"{len(board['panels'])} panels are as Grafana's schemas say")


main()

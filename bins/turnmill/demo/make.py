#!/usr/bin/env python3
"""Makes the demo capture: the parcel capture with its times spread over eight weeks.

Usage: make.py > parcel.jsonl.gz

Each session keeps its events, texts and their order, and starts at another time. Users take some
seconds before each further message; the time from a message to its answers stays. Weekdays, hours
and weeks differ in traffic as they do in practice. Sessions of a sender keep their order. From RELEASE on the model has another id, so that there is a release to see. Parts of
the events that no row needs are left out. The output depends on nothing but the capture.
"""
import gzip
import hashlib
import io
import json
import pathlib
import sys
from datetime import datetime, timezone

ROOT = pathlib.Path(__file__).resolve().parents[3]
CAPTURE = ROOT / "fixtures/rasa-oss-3.6/parcel/file-broker.jsonl.gz"
START = int(datetime(2026, 10, 5, tzinfo=timezone.utc).timestamp())
RELEASE = int(datetime(2026, 11, 11, 8, 30, tzinfo=timezone.utc).timestamp())
NEW_MODEL = hashlib.sha256(b"the second model of the demo").hexdigest()[:32]
WEEKS = 8
HOUR = 3600
# Traffic of the weekdays, Monday first, and of the hours of a day.
WEEKDAYS = [1.05, 1.1, 1.0, 1.0, 0.9, 0.5, 0.4]
HOURS = [1, 1, 1, 1, 1, 2, 4, 8, 13, 16, 17, 15, 12, 12, 14, 15, 14, 12, 11, 12, 10, 7, 4, 2]
# Least time between two sessions of a sender: more than Rasa's default timeout of an hour.
PAUSE = 2 * HOUR


def chances():
    """Returns the upper bound of each hour's share of the traffic, from 0 to 1."""
    weights = []
    for hour in range(WEEKS * 7 * 24):
        day = hour // 24
        growth = 0.8 + 0.5 * day / (WEEKS * 7)
        weights.append(growth * WEEKDAYS[day % 7] * HOURS[hour % 24])
    total, bounds = sum(weights), []
    for weight in weights:
        bounds.append((bounds[-1] if bounds else 0) + weight / total)
    return bounds


BOUNDS = chances()


def drawn(*key):
    """Returns a number from 0 to 1 that depends on the key alone."""
    digest = hashlib.sha256("\0".join(map(str, key)).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:7], "big") / 2**56


def start(*key):
    """Returns a time in seconds that depends on the key alone."""
    place = drawn(*key)
    hour = next((at for at, bound in enumerate(BOUNDS) if place <= bound), len(BOUNDS) - 1)
    return START + hour * HOUR + int(drawn(*key, "second") * HOUR)


def sessions(events):
    """Splits the events of a sender where Rasa started a session.

    Events before the first start belong to the session that it starts, and so does the slot that
    Rasa sets just before a start.
    """
    parts, is_started = [[]], False
    for event in sorted(events, key=lambda event: event["timestamp"]):
        if event.get("name") == "action_session_start":
            if is_started:
                slot = parts[-1][-1].get("name") == "session_started_metadata"
                parts.append([parts[-1].pop()] if slot else [])
            is_started = True
        parts[-1].append(event)
    return parts


def slowed(sender, number, part):
    """Lets the user of a session think before each further message."""
    pause, messages = 0, 0
    for event in part:
        if event["event"] == "user":
            messages += 1
            if messages > 1:
                pause += 3 + int(45 * drawn(sender, number, messages) ** 2)
        # Whole seconds, so that the time between other events stays exactly the same.
        event["timestamp"] += pause
    return part


def starts(sender, parts):
    """Returns the start of each session, in their order and without overlap."""
    lengths = [max(e["timestamp"] for e in part) - min(e["timestamp"] for e in part) for part in parts]
    for attempt in range(1000):
        times = sorted(start(sender, attempt, at) for at in range(len(parts)))
        follows = zip(times, lengths, times[1:])
        is_over = times[-1] + lengths[-1] < START + WEEKS * 7 * 24 * HOUR
        if is_over and all(time + length + PAUSE <= then for time, length, then in follows):
            return times
    raise SystemExit(f"no place for the sessions of {sender}")


def short(event):
    """Leaves out what no row needs."""
    event = {key: value for key, value in event.items() if value is not None or key == "value"}
    event.pop("hide_rule_turn", None)
    parse = event.get("parse_data")
    if parse:
        for key in ("response_selector", "text_tokens", "metadata", "text"):
            parse.pop(key, None)
        parse["intent_ranking"] = parse.get("intent_ranking", [])[:5]
        for each in [parse["intent"], *parse["intent_ranking"]]:
            if "confidence" in each:
                each["confidence"] = round(each["confidence"], 4)
    return event


def main():
    senders = {}
    with gzip.open(CAPTURE, "rt", encoding="utf-8") as lines:
        for line in lines:
            event = json.loads(line)
            senders.setdefault(event["sender_id"], []).append(event)
    moved = []
    for sender, events in senders.items():
        parts = [slowed(sender, *part) for part in enumerate(sessions(events))]
        for part, time in zip(parts, starts(sender, parts)):
            shift = time - int(min(event["timestamp"] for event in part))
            for event in part:
                event["timestamp"] += shift
                if time >= RELEASE and "model_id" in event.get("metadata", {}):
                    event["metadata"]["model_id"] = NEW_MODEL
                moved.append(short(event))
    moved.sort(key=lambda event: event["timestamp"])
    text = "".join(json.dumps(event, separators=(",", ":")) + "\n" for event in moved)
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=9, mtime=0, filename="") as file:
        file.write(text.encode())
    sys.stdout.buffer.write(out.getvalue())


if __name__ == "__main__":
    main()

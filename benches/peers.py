"""Divides events into sessions by half an hour of silence, with another program on two threads.

peers.py NAME FILE prints one line of JSON: the number of sessions, wall-clock and processor
seconds. The time includes reading the file. It excludes starting Python and importing the program.
"""

import json
import resource
import sys
import time

GAP = 1800.0

SQL = """
SELECT count(*) FROM (
    SELECT {time} - {lag}({time}) OVER (PARTITION BY sender_id ORDER BY {time} {frame}) AS pause{extra}
    FROM {table}
) WHERE {condition}
"""


def duckdb(path):
    import duckdb

    connection = duckdb.connect(config={"threads": 2})
    table = (
        f"read_json('{path}', format = 'newline_delimited', "
        "columns = {sender_id: 'VARCHAR', timestamp: 'DOUBLE'})"
    )
    query = SQL.format(
        time='"timestamp"', lag="lag", frame="", extra="", table=table, condition=f"pause IS NULL OR pause > {GAP}"
    )
    return lambda: connection.execute(query).fetchall()[0][0]


def polars(path):
    import os

    os.environ["POLARS_MAX_THREADS"] = "2"
    import polars as pl

    assert pl.thread_pool_size() == 2
    events = pl.scan_ndjson(path, schema={"sender_id": pl.String, "timestamp": pl.Float64})
    sorted_ = events.sort("sender_id", "timestamp")
    first = pl.col("sender_id") != pl.col("sender_id").shift(1)
    pause = pl.col("timestamp") - pl.col("timestamp").shift(1)
    begins = (first | (pause > GAP)).fill_null(True)
    query = sorted_.select(begins.sum())
    return lambda: query.collect().item()


def polars_streaming(path):
    import os

    os.environ["POLARS_MAX_THREADS"] = "2"
    import polars as pl

    events = pl.scan_ndjson(path, schema={"sender_id": pl.String, "timestamp": pl.Float64})
    sorted_ = events.sort("sender_id", "timestamp")
    first = pl.col("sender_id") != pl.col("sender_id").shift(1)
    pause = pl.col("timestamp") - pl.col("timestamp").shift(1)
    query = sorted_.select((first | (pause > GAP)).fill_null(True).sum())
    return lambda: query.collect(engine="streaming").item()


def chdb(path):
    import chdb

    table = f"file('{path}', JSONEachRow, 'sender_id String, timestamp Float64')"
    query = SQL.format(
        time="timestamp",
        lag="lagInFrame",
        frame="ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING",
        extra=", row_number() OVER (PARTITION BY sender_id ORDER BY timestamp) AS place",
        table=table,
        condition=f"place = 1 OR pause > {GAP}",
    )
    settings = " SETTINGS max_threads = 2, input_format_skip_unknown_fields = 1"
    return lambda: int(str(chdb.query(query + settings, "CSV")).strip())


def main():
    name, path = sys.argv[1:]
    work = {"duckdb": duckdb, "polars": polars, "polars-streaming": polars_streaming, "chdb": chdb}[name](path)
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    sessions = work()
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"sessions": sessions, "wall": wall, "cpu": cpu}))


if __name__ == "__main__":
    main()

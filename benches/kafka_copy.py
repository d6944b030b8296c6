"""Copies the bodies of a topic into one table, as a plain consumer does.

Each batch is one COPY, one transaction and one commit of offsets.

kafka_copy.py BOOTSTRAP TOPIC GROUP RECORDS URL BATCH prints one line of JSON: wall-clock and
processor seconds from the assignment to the last commit.
"""

import json
import sys
import time

import psycopg
from confluent_kafka import Consumer


def main():
    bootstrap, topic, group, records, url, batch = sys.argv[1:]
    start = []
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe([topic], on_assign=lambda *_: start.append((time.perf_counter(), time.process_time())))
    left = int(records)
    with psycopg.connect(url) as connection:
        while left > 0:
            messages = consumer.consume(int(batch), timeout=0.5)
            if not messages:
                continue
            with connection.cursor() as cursor, cursor.copy("COPY raw (body) FROM STDIN") as copy:
                for message in messages:
                    if message.error():
                        raise SystemExit(str(message.error()))
                    copy.write_row((message.value().decode(),))
            connection.commit()
            consumer.commit(asynchronous=False)
            left -= len(messages)
        wall, cpu = time.perf_counter() - start[0][0], time.process_time() - start[0][1]
    consumer.close()
    print(json.dumps({"wall": wall, "cpu": cpu}))


if __name__ == "__main__":
    main()

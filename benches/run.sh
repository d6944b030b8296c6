#!/bin/sh
# Runs one of turnmill's measurements: benches/run.sh NAME [arguments of turnmill-bench]
#
#   peers    decoder and engine against DuckDB, Polars and chDB, which only divide events into
#            sessions (needs Python and PyPI)
#   sqlite   file to SQLite against plain inserts, for new, known, and half known events
#   ahead    senders whose first event makes all later ones late
#   late     one late event in an old session of a long history
#   markers  markers over the events of a capture, against Rasa's evaluator; the pipeline with 20
#            markers and without
#   memory   an open session, and turnmill-replay with many senders (memory --millions 10 for ten
#            million)
#   kafka    Kafka to engine without a store, against librdkafka's own consumer
#   postgres Kafka to PostgreSQL, against binary COPY of the same rows into tables with primary
#            keys only
#   sinks    a file to PostgreSQL with a sink, against the same without
#   builds   two builds of turnmill-replay, a file to PostgreSQL (builds BEFORE AFTER)
#   workers  a keyed topic with one worker, an unkeyed one with one and with three
#   latency  from producing a record to seeing its row, service idle
#   growth   rate into a large store divided by that into one of a million events
#            (growth --millions 10 --millions 50)
#   size     100 events into stores of a thousand and a million, and memory for one sender by the
#            order of its events (needs Python)
#   questions  the metrics of the dashboard's overview, asked of ten million events in SQLite and
#            in PostgreSQL, against one pass over all turns (questions --events N)
#   connect  a plain Python consumer and Kafka Connect with the same topic (needs Python, PyPI,
#            Maven and Maven Central)
#   all      all of these but for builds and questions
#
# RUNS is the number of runs of each measurement (5). Needs cargo and GNU time; from kafka on also
# PostgreSQL and Java, for turnmill-testbed.
set -eu
cd "$(dirname "$0")/.."
case ${1-} in
    peers | sqlite | ahead | late | markers | memory | kafka | postgres | sinks | workers) ;;
    latency | growth | questions | size | connect | all) ;;
    "" | -h | --help) sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' benches/run.sh; [ $# -gt 0 ] || exit 2; exit 0 ;;
    *) echo "benches/run.sh: unknown measurement: $1; without arguments it prints all" >&2; exit 2 ;;
esac
runs=${RUNS:-5}
target=${CARGO_TARGET_DIR:-target}
data=$target/bench-data
mkdir -p "$data"
# Builds one by one, so that neither gets the features that only the other needs.
for package in turnmill-bench turnmill-replay; do
    cargo build --quiet --release -p "$package"
done
bench=$target/release/turnmill-bench
replay=$target/release/turnmill-replay

# A Python with the packages in requirements.txt.
venv() {
    python=$data/venv/bin/python
    if ! cmp -s benches/requirements.txt "$data/venv/requirements.txt"; then
        python3 -m venv "$data/venv"
        "$python" -m pip install --quiet -r benches/requirements.txt
        cp benches/requirements.txt "$data/venv"
    fi
}

peers() {
    venv
    for mix in lean capture; do
        [ -f "$data/$mix.jsonl" ] || "$bench" generate "$data/$mix.jsonl" --mix "$mix" --events 1000000
        echo "== a million events, mix $mix"
        "$bench" peers "$data/$mix.jsonl" --python "$python" --script benches/peers.py --runs "$runs" "$@"
    done
}

sqlite() {
    for mix in lean capture; do
        "$bench" sqlite --replay "$replay" --mix "$mix" --runs "$runs" "$@"
    done
}

# Programs that cannot be installed are skipped, and the measurement reports it.
connect() {
    venv || echo "benches/run.sh: cannot install the Python packages, leaving out the Python consumer" >&2
    jars=$data/connect
    if [ ! -d "$jars" ]; then
        mvn --batch-mode --no-transfer-progress --quiet --settings benches/connect/settings.xml \
            --file benches/connect/pom.xml dependency:copy-dependencies -DincludeScope=runtime \
            -DoutputDirectory="$(realpath "$data")/connect.part" && mv "$data/connect.part" "$jars" ||
            echo "benches/run.sh: cannot download from Maven Central, leaving out Kafka Connect" >&2
    fi
    "$bench" connect --python "$python" --script benches/kafka_copy.py --jars "$jars" --runs "$runs" "$@"
}

name=$1
shift
case $name in
    peers | sqlite | connect) "$name" "$@" ;;
    ahead | late | markers | kafka | postgres | sinks | builds | workers | growth) "$bench" "$name" --runs "$runs" "$@" ;;
    size)
        python3 benches/size.py small "$replay" --runs "$runs" "$@"
        python3 benches/size.py sender "$replay"
        ;;
    latency) "$bench" latency "$@" ;;
    questions) "$bench" questions --replay "$replay" --runs "$runs" "$@" ;;
    memory) "$bench" memory --replay "$replay" "$@" ;;
    all)
        peers
        sqlite
        "$bench" ahead --runs "$runs"
        "$bench" late --runs "$runs"
        "$bench" markers --runs "$runs"
        "$bench" memory --replay "$replay" --millions 1
        for each in kafka postgres sinks workers growth; do "$bench" "$each" --runs "$runs"; done
        "$bench" latency
        connect
        ;;
esac

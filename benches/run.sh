#!/bin/sh
# Runs one of turnmill's measurements: benches/run.sh NAME [arguments of turnmill-bench]
#
#   peers    decoder and engine against DuckDB, Polars and chDB that only cut sessions (takes Python and PyPI)
#   sqlite   file to SQLite against plain inserts; the same a second time; half known, half new
#   ahead    senders whose first event makes all later ones late
#   late     one late event into an old session of a long life
#   markers  markers over the events of a capture, against Rasa's evaluator
#   memory   an open session, and turnmill-replay with many senders (memory --millions 10 for ten million)
#   all      all of these
#
# RUNS is the number of runs of each (5). Needs cargo and GNU time.
set -eu
cd "$(dirname "$0")/.."
runs=${RUNS:-5}
target=${CARGO_TARGET_DIR:-target}
data=$target/bench-data
mkdir -p "$data"
cargo build --quiet --release -p turnmill-bench -p turnmill-replay
bench=$target/release/turnmill-bench
replay=$target/release/turnmill-replay

peers() {
    python=$data/venv/bin/python
    if [ ! -x "$python" ]; then
        python3 -m venv "$data/venv"
        "$python" -m pip install --quiet -r benches/requirements.txt
    fi
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

[ $# -gt 0 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 2; }
name=$1
shift
case $name in
    peers | sqlite) "$name" "$@" ;;
    ahead | late | markers) "$bench" "$name" --runs "$runs" "$@" ;;
    memory) "$bench" memory --replay "$replay" "$@" ;;
    all)
        peers
        sqlite
        "$bench" ahead --runs "$runs"
        "$bench" late --runs "$runs"
        "$bench" markers --runs "$runs"
        "$bench" memory --replay "$replay" --millions 1
        ;;
    *) echo "benches/run.sh: no measurement is called $name" >&2; exit 2 ;;
esac

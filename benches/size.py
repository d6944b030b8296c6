"""Compares costs in stores, and with senders, of different sizes.

    size.py small REPLAY [--store postgresql://...] [--events 1000,1000000] [--runs 5]
        100 more events into a store of a million events, divided by the same into one of a thousand
    size.py rebuild REPLAY --turnmill TURNMILL --input FILE [--store postgresql://...] [--analyze]
                   [--times 1,2,4,8] [--keys none,declared]
        `turnmill rebuild` of a store that holds FILE once, and several times under other senders
    size.py sender REPLAY [--events 25000,50000,100000,200000] [--orders forward,reverse,random]
        peak memory and time for events of one sender, by the order of arrival

Needs Python, and psql for PostgreSQL. Processor time is that of the command. The server's is added
or printed next to it; the server has to run on this machine.
"""
import argparse, gzip, json, os, random, statistics, subprocess, sys, tempfile, time
from pathlib import Path

KINDS = [
    {"event": "session_started"},
    {"event": "user", "text": "where is my parcel", "parse_data": {"intent": {"name": "ask", "confidence": 0.9}}},
    {"event": "slot", "name": "parcel", "value": "12"},
    {"event": "action", "name": "utter_where"},
    {"event": "bot", "text": "on its way"},
    {"event": "action", "name": "action_listen"},
]


def conversations(path, events, name, together=100):
    """Writes conversations of 24 events, each of one sender, interleaving `together` of them."""
    with open(path, "w") as out:
        for n in range(events):
            block, step = divmod(n, 24 * together)
            step, sender = divmod(step, together)
            kind = KINDS[0] if step == 0 else KINDS[1 + step % 5]
            event = {"sender_id": f"{name}{block}.{sender}", "timestamp": 1.7e9 + n * 0.37, **kind}
            if kind["event"] == "user":
                event["message_id"] = f"{name}{n}"
            out.write(json.dumps(event) + "\n")


def one_sender(path, events, order):
    """Writes one session of one sender: messages, slots and actions a second apart."""
    numbers = list(range(events))
    if order == "reverse":
        numbers.reverse()
    elif order == "random":
        random.Random(1).shuffle(numbers)
    with open(path, "w") as out:
        for i in numbers:
            kind = [
                {"event": "user", "text": f"hi {i}", "message_id": f"m{i}"},
                {"event": "slot", "name": f"s{i % 7}", "value": i},
                {"event": "action", "name": "action_listen"},
                {"event": "user_featurization", "use_text_for_featurization": False},
            ][i % 4]
            out.write(json.dumps({"sender_id": "one", "timestamp": 1.7e9 + i, **kind}) + "\n")


def run(replay, *arguments):
    """Returns wall-clock seconds, processor seconds and peak memory in MB of a run."""
    started = time.monotonic()
    pid = os.posix_spawn(replay, [replay, *map(str, arguments)], os.environ)
    _, status, used = os.wait4(pid, 0)
    if status:
        sys.exit(f"{replay} {' '.join(map(str, arguments))} failed")
    return time.monotonic() - started, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def psql(url, *statements):
    """Returns the output of psql."""
    commands = [word for statement in statements for word in ["-c", statement]]
    done = subprocess.run(["psql", "-XAtq", url, *commands], capture_output=True, text=True, check=True)
    return done.stdout


def server_cpu(url):
    """Returns processor seconds of all processes of the server so far."""
    def stat(pid):
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[1]), sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    directory = psql(url, "SHOW data_directory").strip()
    main = int((Path(directory) / "postmaster.pid").read_text().split()[0])
    seconds = stat(main)[1]
    for entry in Path("/proc").iterdir():
        try:
            parent, own = stat(entry.name) if entry.name.isdigit() else (0, 0)
        except OSError:
            continue
        seconds += own if parent == main else 0
    return seconds


def rebuild(args, folder):
    events = [json.loads(line) for line in gzip.open(args.input)]
    for keys in args.keys.split(",") if args.store else ["none"]:
        first = None
        for times in args.times:
            path = folder / f"{times}.jsonl"
            with open(path, "w") as out:
                for number in range(times):
                    for event in events:
                        out.write(json.dumps({**event, "sender_id": f"{event['sender_id']}~{number}"}) + "\n")
            schema = f"{keys}{times}"
            to = args.store or f"sqlite:{folder}/{schema}.sqlite"
            at = ["--schema", schema] if args.store else []
            made = ["--foreign-keys", keys, *at] if args.store else []
            before = server_cpu(args.store) if args.store else 0
            loaded = run(args.replay, path, "--quiet", "--to", to, *made)
            path.unlink()
            between = server_cpu(args.store) if args.store else 0
            if args.analyze:
                psql(args.store, f'SET search_path TO "{schema}"', "ANALYZE")
            analyzed = server_cpu(args.store) if args.store else 0
            wall, cpu, memory = run(args.turnmill, "rebuild", to, *at, "--json")
            server = server_cpu(args.store) - analyzed if args.store else 0
            first = first or (cpu + server) / times
            ratio = (cpu + server) / times / first
            print(f"keys {keys}, {times} times {len(events):,} events: "
                  f"load: {loaded[1] + between - before:.1f} s of processors; rebuild: {wall:.1f} s, "
                  f"{cpu:.1f} s of processors, server {server:.1f} s, {memory:.0f} MB; "
                  f"per event {ratio:.2f} of the first", file=sys.stderr)


def small(args, folder):
    stores = []
    for events in args.events or [1000, 1_000_000]:
        path = folder / f"fill{events}.jsonl"
        conversations(path, events, f"f{events}-")
        if args.store:
            to = [args.store, "--schema", f"size{events}"]
        else:
            to = [f"sqlite:{folder}/{events}.sqlite"]
        run(args.replay, path, "--quiet", "--to", *to)
        path.unlink()
        stores.append((events, to))
    for senders, output in [(5, ["--quiet"]), (5, ["--json"]), (100, ["--json"]), (5, ["--json", "--totals"])]:
        name = f"{senders} senders, {' '.join(output)}"
        taken = {events: [] for events, _ in stores}
        for number in range(args.runs + 1):
            for events, to in stores:
                path = folder / f"more{senders}{len(output)}{output[0]}{number}.jsonl"
                conversations(path, 100, path.stem, senders)
                before = server_cpu(args.store) if args.store else 0
                wall, cpu, memory = run(args.replay, path, *output, "--to", *to)
                server = server_cpu(args.store) - before if args.store else 0
                cost = wall, cpu + server, memory
                # The first run warms up.
                if number:
                    taken[events].append(cost)
        first = None
        for events, costs in taken.items():
            wall, cpu, memory = (statistics.median(values) for values in zip(*costs))
            first = first or (wall, cpu)
            ratios = [wall / first[0], cpu / first[1]]
            print(f"{name}, {events:,} stored: {wall * 1e3:.0f} ms, {cpu * 1e3:.0f} ms of processors, "
                  f"{memory:.0f} MB; divided by the first: time {ratios[0]:.2f}, processors {ratios[1]:.2f}",
                  file=sys.stderr)


def sender(args, folder):
    for order in args.orders.split(","):
        for events in args.events or [25_000, 50_000, 100_000, 200_000]:
            path = folder / "one.jsonl"
            one_sender(path, events, order)
            schema = ["--schema", f"{order}{events}"] if args.store else []
            to = args.store or f"sqlite:{folder}/{order}{events}.sqlite"
            wall, cpu, memory = run(args.replay, path, "--quiet", "--to", to, *schema)
            print(f"{order}, {events:,} events: peak {memory:.0f} MB, {wall:.1f} s, "
                  f"{cpu:.1f} s of processors", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["small", "sender", "rebuild"])
    parser.add_argument("replay")
    parser.add_argument("--store")
    numbers = lambda text: [int(number) for number in text.split(",")]
    parser.add_argument("--events", type=numbers)
    parser.add_argument("--orders", default="forward,reverse,random")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--turnmill")
    parser.add_argument("--input")
    parser.add_argument("--times", type=numbers, default=[1, 2, 4, 8])
    parser.add_argument("--keys", default="none,declared")
    parser.add_argument("--analyze", action="store_true", help="ANALYZE before the rebuild")
    args = parser.parse_args()
    args.replay = os.path.abspath(args.replay)
    with tempfile.TemporaryDirectory() as folder:
        {"small": small, "sender": sender, "rebuild": rebuild}[args.what](args, Path(folder))


main()

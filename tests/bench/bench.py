#!/usr/bin/python3
"""deploy/dev bench: Tocsin and Debian's Alertmanager under the same loads, one after the other, on this machine."""

import argparse
import datetime
import json
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import report
import workloads
from ours import Ours
from programs import ROOT, Sink, ceiling
from theirs import Theirs

HERE = Path(__file__).resolve().parent
PORT_BASE = int(os.environ.get("TOCSIN_PORT_BASE") or 27000)
SINK, PEER = PORT_BASE + 10, PORT_BASE + 30


def machine():
    cpu = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8") if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {"cpu": cpu, "cores": os.cpu_count(), "memory_gb": round(memory / 1e9), "kernel": platform.release()}


def commit():
    done = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def idle(bench):
    """What everything weighs, and burns, before it has done anything."""
    seconds, found = bench.seconds(20), {}
    for side in (bench.ours, bench.theirs.fresh()):
        rss = {name: round(b / 1e6, 1) for name, b in side.idle_rss().items()}
        costs = side.costs()
        time.sleep(seconds)
        percent = {name: round(100 * c["cpu_s"] / seconds, 2) for name, c in costs.so_far().items()}
        found[side.name] = {"rss_mb": rss, "largest_mb": max(rss.values()), "cpu_percent_of_a_core": percent}
    bench.theirs.rest()
    return {"parameters": {"seconds": seconds}, **found}


def ceilings(bench):
    """What the servers below us can do for anybody."""
    seconds = bench.seconds(5, 1)
    addresses = bench.ours.addresses
    brokers, url = addresses["KAFKA_BROKERS"], addresses["DATABASE_URL"]
    return {
        "parameters": {"seconds": seconds},
        "ours": {
            "kafka_records_600_bytes": ceiling("kafka", brokers, 600, seconds),
            "kafka_records_35_kilobytes": ceiling("kafka", brokers, 35000, seconds),
            "postgres_upserts_1000_rows": ceiling("postgres", url, 1000, seconds),
            "postgres_upserts_5000_rows": ceiling("postgres", url, 5000, seconds),
        },
    }


ALL = {"idle": idle, "ceilings": ceilings, **workloads.ALL}


def arguments():
    parser = argparse.ArgumentParser(prog="deploy/dev bench", description=__doc__)
    parser.add_argument("--only", metavar="W1,W2", help="of " + ",".join(ALL), default=",".join(ALL))
    parser.add_argument("--quick", action="store_true", help="a few seconds each: to try the bench, not for figures")
    given = parser.parse_args()
    given.only = given.only.split(",")
    unknown = [name for name in given.only if name not in ALL]
    if unknown:
        parser.error(f"no workload {', '.join(unknown)}; there are {', '.join(ALL)}")
    return given


def run(bench, given, results):
    """Every workload in turn; {name: its line}."""
    lines, warm, measured = {}, False, commit()  # before the results change the tree
    for name in given.only:
        if name != "idle" and not warm:
            workloads.warm_up(bench)
            warm = True
        began, load1 = time.time(), os.getloadavg()[0]
        line = {
            "workload": name,
            "at": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "commit": measured,
            "quick": given.quick,
            "machine": machine(),
            "load1_at_start": load1,
            "durability": {"ours": Ours.durability, "theirs": Theirs.durability},
            "peer": f"prometheus-alertmanager {Theirs.version()}",
        }
        line.update(ALL[name](bench))
        line["took_s"] = round(time.time() - began, 1)
        lines[name] = line
        with open(results, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        print(f"\n== {name}: {(ALL[name].__doc__ or '').strip().splitlines()[0]} ({line['took_s']} s, load1 {load1:.1f} at its start)\n")
        print(report.workload_table(line), flush=True)
    return lines


def main():
    given = arguments()
    results = HERE / "results" / (("quick-" if given.quick else "") + f"{datetime.date.today()}.jsonl")
    results.parent.mkdir(exist_ok=True)
    home = Path(os.environ.get("TOCSIN_HOME") or ROOT / "build" / "bench" / "stack")
    home.parent.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # so that what was started is stopped
    load1 = os.getloadavg()[0]
    print(f"{machine()['cores']} cores of {machine()['cpu']}; load1 {load1:.2f}", flush=True)
    if load1 > 0.5:
        print("something else is at work here: what follows says little", flush=True)
    sink = Sink(SINK, home.with_name("sink.tsv"))
    ours, theirs = Ours(home, PORT_BASE, sink), Theirs(home.with_name("alertmanager"), PEER, sink)
    try:
        ours.up()
        lines = run(workloads.Bench(ours, theirs, sink, given.quick), given, results)
    finally:
        theirs.rest()
        ours.down()
        print(f"\nat the sink: {sink.stop()}")
    rows = report.targets(lines)
    if rows:
        print("\n" + report.target_table(rows) + "\n\n" + report.markdown(rows))
        print(f"\nours: {Ours.durability}\ntheirs: {Theirs.durability}")
        with open(results, "a", encoding="utf-8") as file:
            file.write(json.dumps({"workload": "targets", "rows": rows}) + "\n")
    print(f"\nappended to {results.relative_to(ROOT)}")


if __name__ == "__main__":
    sys.exit(main())

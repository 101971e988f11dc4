#!/usr/bin/python3
"""Breaks a whole stack while senders go on, and compares afterwards what they were promised with what was kept.

usage: deploy/dev chaos --seed N --minutes M [--without redis] [--keep] [--rate CASES]

The plan is a pure function of seed, minutes and what is left out. Faults come for M minutes; from 10 minutes on, 6 more in
which all of Tocsin is away. Exit 1 when something that must be 0 is not.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "fakes"), str(HERE.parents[1] / "deploy" / "demo")]

import audit  # noqa: E402
import cases  # noqa: E402
import evidence  # noqa: E402
import plan  # noqa: E402
from injector import Injector  # noqa: E402
from sender import Sender  # noqa: E402
from sink import Sink  # noqa: E402
from world import World  # noqa: E402

PORT_BASE = 23000
RATE = 8.0  # cases a second
REST_S = 420  # to come to rest after the last fault


class Run:
    def __init__(self, args):
        self.args = args
        self.home_is_new = not os.environ.get("TOCSIN_HOME")
        home = _new_home() if self.home_is_new else os.environ["TOCSIN_HOME"]
        self.world = World(home, int(os.environ.get("TOCSIN_PORT_BASE") or PORT_BASE))
        self.faults = plan.make(args.seed, args.minutes, args.without)
        self.said = []
        self.begin = time.monotonic()

    def say(self, text):
        line = f"[{time.monotonic() - self.begin:6.1f} s] {text}"
        self.said.append(line)
        print(line, flush=True)

    def play(self):
        """True when everything that must be 0 is."""
        self.say(f"seed {self.args.seed}, {self.args.minutes:g} minutes; the plan, in seconds after the first alert:")
        for fault in self.faults:
            self.say(f"  {fault}")
        sink, good = Sink(self.world.sink_port).start(), False
        try:
            self.say(f"starting a stack in {self.world.home}")
            self.world.up()
            good = self.break_it(sink)
            self.write_report()
            return good
        finally:
            if not self.args.keep:
                self.world.down()
                if good and self.home_is_new:
                    shutil.rmtree(self.world.home)
            sink.stop()

    def break_it(self, sink):
        injector = Injector(self.world, sink, self.say)
        if "redis" in self.args.without:
            redis = self.world.processes["redis"]
            redis.wanted = False
            redis.signal(signal.SIGKILL)
        seconds = plan.seconds(self.args.minutes)
        work = cases.make(self.args.seed, f"r{time.time():.0f}", seconds, self.args.rate)
        sender = Sender(self.world.ingest_urls(), work).start()
        injector.run(self.faults)
        time.sleep(max(0, seconds - injector.now()))
        sender.finish()
        self.say("the faults are over")
        missing = injector.mend_all(self.args.without)
        evidence.wait_for_rest(self.world, sender, REST_S, self.say)
        seen = evidence.read(self.world, sink)
        sender.stop()
        self.found = self.lines(sender, injector, seen, missing)
        self.say("what was found:")
        self.said.append(audit.report(self.found))
        print(self.said[-1], flush=True)
        return not audit.failed(self.found)

    def lines(self, sender, injector, seen, missing):
        taken = [a for a in sender.answers if 200 <= a.status < 300]
        full = [a for a in sender.answers if a.status == 503 and _within(a.at, injector.spool_full)]
        without_kafka = [a for a in taken if _within(a.at, injector.kafka_away)]
        return [
            *audit.audit(sender.ledger.alerts, seen),
            audit.must_be_none("crashes", injector.crashes),
            audit.must_be_none("not running", missing),
            audit.must_be_none("unexpected answers", [f"{status}, {n} times" for status, n in sender.unexpected.items()]),
            audit.Line("answers 2xx", len(taken)),
            audit.Line("answers 503", sum(a.status == 503 for a in sender.answers)),
            audit.Line("answers 503 while the spool was full", len(full)),
            audit.Line("no answer", sum(a.status == 0 for a in sender.answers)),
            audit.Line("answers 2xx while Kafka was away", len(without_kafka)),
            _slowest("slowest 2xx while Kafka was away", without_kafka),
            _slowest("slowest 2xx", taken),
            audit.Line("connections cut in a transaction", injector.cuts),
            audit.Line("faults that did not come about", len(injector.skipped)),
            audit.Line("kills", injector.kills),
            audit.Line("seed", self.args.seed),
        ]

    def write_report(self):
        path = self.world.home / "chaos" / f"seed-{self.args.seed}.txt"
        offenders = [f"{line.name}: {o}" for line in audit.failed(self.found) for o in line.offenders]
        path.write_text("\n".join([*self.said, *offenders]) + "\n")
        print(f"report: {path}", flush=True)


class _Milliseconds(audit.Line):
    def __str__(self):
        return f"{self.name}: {self.value} ms"


def _slowest(name, answers):
    return _Milliseconds(name, round(max((a.ms for a in answers), default=0)))


def _within(at, spans):
    return any(begin <= at <= end for begin, end in spans)


def _new_home():
    """Not under a directory of root's: the services' user must get there."""
    home = tempfile.mkdtemp(prefix="tocsin-chaos-")
    os.chmod(home, 0o755)
    return home


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, usage=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--without", action="append", choices=["redis"], default=[])
    parser.add_argument("--rate", type=float, default=RATE, help="cases a second")
    parser.add_argument("--keep", action="store_true", help="leave the stack up")
    parser.add_argument("--plan", action="store_true", help="print the plan and do nothing")
    args = parser.parse_args()
    if args.plan:
        print("\n".join(map(str, plan.make(args.seed, args.minutes, args.without))))
        return 0
    try:
        return 0 if Run(args).play() else 1
    except Exception:  # the run says why, and the stack is down already
        traceback.print_exc()
        return 2


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
    sys.exit(main())

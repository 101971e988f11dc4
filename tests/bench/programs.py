"""The benchmark's own programs, and the processes that it starts."""

import datetime
import json
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / "build" / "dev" / "tests" / "bench"


def program(name):
    return os.environ.get("BENCH_" + name.upper(), str(BIN / f"tocsin-bench-{name}"))


class Load:
    """One load generator under way: Load(address, rate=200, seconds=10, fresh=True ...)."""

    def __init__(self, address, **options):
        flags = []
        for name, value in options.items():
            flags.append("--" + name.replace("_", "-"))
            if value is not True:
                flags.append(str(value))
        self._process = subprocess.Popen([program("load"), *flags, address], stdout=subprocess.PIPE, text=True)

    def result(self):
        """What it printed, with `accepted`: requests that were answered 2xx."""
        out, _ = self._process.communicate()
        if self._process.returncode:
            raise RuntimeError(f"the load generator ended with {self._process.returncode}")
        result = json.loads(out)
        result["accepted"] = sum(n for answer, n in result["statuses"].items() if answer.split()[1][0] == "2")
        return result


def ceiling(*arguments):
    out = subprocess.run([program("ceiling"), *map(str, arguments)], check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(out)


class Sink:
    """The one receiver of everybody. heard(path, run): {instance: [(arrival in ms, start in ms, status)]}"""

    def __init__(self, port, log):
        self.address = f"127.0.0.1:{port}"
        self._log = Path(log)
        self._out = open(self._log, "w", encoding="utf-8")
        self._process = subprocess.Popen([program("sink"), str(port)], stdout=self._out)
        self._offset = 0
        self._heard = {}

    def heard(self, path, run):
        """Of one run's alerts."""
        self._read()
        return {i: found for i, found in self._heard.get(path, {}).items() if i.startswith(run + "-")}

    def _read(self):
        with open(self._log, encoding="utf-8") as file:
            file.seek(self._offset)
            for line in iter(file.readline, ""):
                if not line.endswith("\n"):
                    break
                self._offset += len(line.encode())
                self._note(line.rstrip("\n").split("\t"))

    def _note(self, words):
        if len(words) != 5:
            return
        arrived, path, instance, start, status = words
        arrivals = self._heard.setdefault(path, {}).setdefault(instance, [])
        arrivals.append((int(arrived) / 1000, milliseconds(start), status))

    def forget(self):
        """What was heard so far is another workload's."""
        self._read()
        self._heard = {}

    def stop(self):
        self._process.terminate()
        self._process.wait()
        self._out.close()
        return json.loads(self._log.read_text(encoding="utf-8").splitlines()[-1])


def milliseconds(rfc3339):
    if not rfc3339 or rfc3339.startswith("0001"):
        return 0
    return datetime.datetime.fromisoformat(rfc3339.replace("Z", "+00:00")).timestamp() * 1000


def quantiles(values):
    """{"n", "p50", "p99", "max"} of a list of numbers, by nearest rank."""
    ordered = sorted(values)
    if not ordered:
        return {"n": 0}

    def at(q):
        return round(ordered[min(len(ordered) - 1, max(0, -int(-q * len(ordered) // 1) - 1))], 2)

    return {"n": len(ordered), "p50": at(0.5), "p99": at(0.99), "max": at(1)}

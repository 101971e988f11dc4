"""The workloads. Each takes the bench and gives what its line of JSON says: {"parameters", "ours", "theirs"}."""

import time

from programs import Load, quantiles

KEYS = 20000
NAMES = 5000  # so many incidents do the keys of W1 make
PROBES = 20  # a second: brand-new critical alerts, each an incident and a message of its own


class Bench:
    """Both sides, the sink, and how long things take: `quick` is for trying the bench itself."""

    def __init__(self, ours, theirs, sink, quick):
        self.ours, self.theirs, self.sink, self.quick = ours, theirs, sink, quick
        self._runs = 0

    def seconds(self, full, quick=3):
        return quick if self.quick else full

    def run_name(self, workload):
        """A label that nothing before had."""
        self._runs += 1
        return f"{workload.lower()}r{self._runs}"

    def both(self, measure):
        """measure(side) on one and then on the other, on the same cores."""
        found = {}
        for side in (self.ours, self.theirs):
            self.sink.forget()
            found[side.name] = measure(side.fresh())
            side.rest()
        return found


# ---- the pieces ----


def w1_load(side, run, rate, seconds, **options):
    words = {"keys": KEYS, "names": NAMES, "zipf": 1.1, "resolved": 0.2, "connections": 64, **options}
    return Load(side.address, run=run, rate=rate, seconds=seconds, **words)


def probe_load(side, run, seconds, rate=PROBES):
    keys = int(rate * seconds * 2) + 100
    return Load(side.address, run=run, rate=rate, seconds=seconds, keys=keys, fresh=True, group="probe", connections=8, seed=7)


def latency(load):
    return {key: load["ms"][key] for key in ("n", "p50", "p99", "p999", "max")}


def brief(load):
    return {
        "requests": load["requests"],
        "refused": load["requests"] - load["accepted"] - load["unanswered"],
        "unanswered": load["unanswered"],
        "unsent": load["unsent"],
        "accept_ms": latency(load),
    }


def probe_summary(bench, side, run, sent):
    """From when each probe was due to the commit of its incident, and to its first message at the sink."""
    path, deadline = f"/{side.name}/probe", time.monotonic() + 30
    while len(bench.sink.heard(path, run)) < sent["keys"] and time.monotonic() < deadline:
        time.sleep(0.1)
    heard = bench.sink.heard(path, run)
    first = [min(arrival - start for arrival, start, _ in found) for found in heard.values()]
    return {
        "accept_ms": latency(sent),
        "commit_ms": side.commit_ms(run),
        "notified_ms": quantiles(first),
        "not_notified": sent["keys"] - len(heard),
        **({"check": side.check(run, sent)} if side is bench.ours else {}),
    }


def steady(bench, side, name, rate, seconds, beside=None):
    """W1 at one rate, with probes beside it; rate 0: probes alone. `beside` starts one more load, which ends up in "beside"; what it
    sent is waited for as well, because a reader that is behind with it is behind with all."""
    run = bench.run_name(name)
    position, costs, began = side.position(), side.costs(), time.time()
    held = 0 if side is bench.ours else side.active()
    more = beside() if beside else None
    probes = probe_load(side, run + "p", seconds)
    main = w1_load(side, run, rate, seconds) if rate else None
    main = main.result() if main else None
    probes = probes.result()
    more = more.result() if more else None
    loads = [load for load in (main, probes, more) if load]
    ended = time.time()
    committed = side.wait_committed(position + sum(load["accepted"] for load in loads))
    found = {"probes": probe_summary(bench, side, run + "p", probes), **({"beside": more} if more else {})}
    if main:
        side.wait_told()
        found.update(brief(main))
        found["offered_per_s"], found["seconds"] = rate, seconds
        found["accepted_per_s"] = round(main["alerts"] / max(main["seconds"], 0.001))
        found["lag_s_at_end"] = round(max(0, committed - ended), 2) if committed else None
        found["news_commit_ms"] = side.news_ms(run)
        if side is bench.ours:
            found["check"] = side.check(run, main)
        else:
            found["check"] = side.check(run, {"firing": held + sum(load["firing"] for load in loads)})
        found["cost"] = side.cost_summary(costs, sum(load["alerts"] for load in loads))
    found["wall_s"] = round(time.time() - began, 1)
    return found


def warm_up(bench):
    """Kafka's JVM compiles what runs often, and Postgres gets its statistics. The peer needs neither, and begins each workload anew."""
    side = bench.ours
    position = side.position()
    load = w1_load(side, bench.run_name("warm"), 4000, bench.seconds(40, 2)).result()
    side.wait_committed(position + load["accepted"])
    side.wait_told()


# ---- the workloads ----


def w1(bench):
    """Steady traffic at several rates, probes alone, and the knee."""
    seconds = bench.seconds(15)
    rates = [0, 200, 2000] if bench.quick else [0, 200, 2000, 5000, 10000]

    def measure(side):
        found = {str(rate): steady(bench, side, "w1", rate, seconds) for rate in rates}
        found["knee"] = knee(bench, side)
        return found

    parameters = {"keys": KEYS, "names": NAMES, "zipf": 1.1, "resolved": 0.2, "seconds": seconds, "probes_per_s": PROBES}
    return {"parameters": parameters, **bench.both(measure)}


def knee(bench, side):
    """The highest of some rates at which an alert of its own POST is accepted within 50 ms at p99."""
    seconds, steps, best = bench.seconds(4, 1), {}, 0
    for rate in (2500, 5000, 7500, 10000, 12500, 15000, 20000, 25000, 30000, 40000):
        position = side.position()
        load = w1_load(side, bench.run_name("knee"), rate, seconds, linger=5).result()
        side.wait_committed(position + load["accepted"])
        steps[str(rate)] = load["ms"]["p99"]
        if load["unsent"] or load["unanswered"] or load["ms"]["p99"] > 50:
            break
        best = rate
    return {"alerts_per_s": best, "p99_ms": steps}


def w2(bench):
    """One hot key over W1 at 200/s."""
    seconds, rate = bench.seconds(60), 50000

    def measure(side):
        quiet = steady(bench, side, "w2q", 200, bench.seconds(20))
        run = bench.run_name("hot")
        words = {"run": run, "rate": rate, "seconds": seconds, "keys": 1, "batch": 64, "connections": 8, "linger": 20, "seed": 3}
        busy = steady(bench, side, "w2b", 200, seconds, beside=lambda: Load(side.address, **words))
        hot = busy.pop("beside")
        told = bench.sink.heard(f"/{side.name}/main", run)
        return {
            "quiet": quiet,
            "busy": busy,
            "hot": {"offered_per_s": rate, "accepted_per_s": round(hot["alerts"] / hot["seconds"]), **brief(hot)},
            "hot_notifications": side.notifications(run),
            "hot_heard": sum(map(len, told.values())),
            "p99_moved": {
                "accept": ratio(busy["accept_ms"]["p99"], quiet["accept_ms"]["p99"]),
                "notified": ratio(busy["probes"]["notified_ms"].get("p99"), quiet["probes"]["notified_ms"].get("p99")),
            },
        }

    return {"parameters": {"hot_per_s": rate, "seconds": seconds, "batch": 64}, **bench.both(measure)}


def w3(bench):
    """New fingerprints by the million, in 5,000 incidents or groups; and what is held in memory while they are open."""
    keys, seconds = (20000, 3) if bench.quick else (1000000, 60)

    def measure(side):
        run = bench.run_name("new")
        position, costs, began = side.position(), side.costs(), time.time()
        load = Load(
            side.address, run=run, rate=keys / seconds, seconds=1.2 * seconds, keys=keys, names=NAMES, batch=64, fresh=True, connections=16, linger=60
        ).result()
        committed = side.wait_committed(position + load["accepted"])
        told_by = time.time()
        side.wait_told()
        time.sleep(2)  # what was only for the work at hand is given back
        cost = side.cost_summary(costs, load["alerts"])
        groups = min(NAMES, keys)
        return {
            **brief(load),
            "accepted_per_s": round(load["alerts"] / load["seconds"]),
            "seconds": round(load["seconds"], 1),
            "drained_after_s": round((committed or told_by) - began - load["seconds"], 1),
            "committed_per_s": round(load["alerts"] / (committed - began)) if committed and side is bench.ours else None,
            "check": side.check(run, load),
            "cost": cost,
            "bytes_per_alert": round(cost["workers_held_mb"] * 1e6 / max(load["keys"], 1)),
            "bytes_per_incident": round(cost["workers_held_mb"] * 1e6 / groups),
        }

    return {"parameters": {"keys": keys, "groups": NAMES, "seconds": seconds, "batch": 64}, **bench.both(measure)}


def w5(bench):
    """Every format, with and without what must be refused. Alertmanager has one of these endpoints: ours alone."""
    seconds, rate = bench.seconds(20), 2000
    bad = {"malformed": 0.05, "oversize": 0.01, "forged": 0.01}
    want = {"malformed": "400", "oversize": "413", "forged": "401"}

    def measure(shares):
        run = bench.run_name("mix")
        position = bench.ours.position()
        probes = probe_load(bench.ours, run + "p", seconds)
        load = Load(
            bench.ours.address, traffic="mixture", run=run, rate=rate, seconds=seconds, keys=2000, secret="bench-sentry-secret", **shares
        ).result()
        probes = probes.result()
        bench.ours.wait_committed(position + load["accepted"] + probes["accepted"])
        wrong = {}
        for answer, n in load["statuses"].items():
            kind, status = answer.split()
            if status != want.get(kind, status) or (kind not in want and status[0] != "2"):
                wrong[answer] = n
        return {
            **brief(load),
            "statuses": load["statuses"],
            "wrong": wrong,
            "probes": probe_summary(bench, bench.ours, run + "p", probes),
        }

    bench.sink.forget()
    clean, dirty = measure({}), measure(bad)
    moved = ratio(dirty["accept_ms"]["p99"], clean["accept_ms"]["p99"])
    return {"parameters": {"rate": rate, "seconds": seconds, **bad}, "ours": {"clean": clean, "dirty": dirty, "p99_moved": moved}}


def w8(bench):
    """25 dashboards that list what is open, ten times a second each, beside W1 at 2,000/s."""
    seconds, rate, reads = bench.seconds(20), 2000, 250
    paths = {"ours": "/api/v1/incidents?status=active&limit=50", "theirs": "/api/v2/alerts/groups?active=true"}

    def measure(side):
        alone = steady(bench, side, "w8a", rate, seconds)
        read = Load(
            side.console, traffic="reads", path=paths[side.name], rate=reads, seconds=seconds, connections=25, linger=2
        )
        beside = steady(bench, side, "w8b", rate, seconds)
        read = read.result()
        return {
            "alone": alone,
            "beside": beside,
            "reads": {"offered_per_s": reads, "answered_per_s": round(read["accepted"] / max(read["seconds"], 0.001), 1), "bytes_each": round(read["received_bytes"] / max(read["accepted"], 1)), **brief(read)},
            "accept_p99_moved": ratio(beside["accept_ms"]["p99"], alone["accept_ms"]["p99"]),
        }

    return {"parameters": {"rate": rate, "reads_per_s": reads, "paths": paths, "seconds": seconds}, **bench.both(measure)}


def accept(bench):
    """As fast as answers come: single alerts, and POSTs of 64 in 100 groups and in a group per label set."""
    seconds = bench.seconds(10, 2)
    shapes = {
        "single": {"batch": 1, "connections": 128, "keys": 10000, "names": 100, "group": "name"},
        "batch_name": {"batch": 64, "connections": 8, "keys": 10000, "names": 100, "group": "name"},
        "batch_each": {"batch": 64, "connections": 8, "keys": 10000, "names": 100, "group": "each"},
        "batch_incident": {"batch": 64, "connections": 8, "keys": 10000, "names": 100, "group": "incident"},
    }

    def measure_shape(side, shape):
        run = bench.run_name("max")
        position, costs, began = side.position(), side.costs(), time.time()
        load = Load(side.address, run=run, rate=0, seconds=seconds, **shape).result()
        committed = side.wait_committed(position + load["accepted"])
        found = {**brief(load), "accepted_per_s": round(load["alerts"] / load["seconds"]), "alert_bytes": load["alert_bytes"]}
        if side is bench.ours:
            side.wait_told()
            found["committed_per_s"] = round(load["alerts"] / (committed - began)) if committed else None
            found["drained_after_s"] = round(committed - began - load["seconds"], 2) if committed else None
        found["check"] = side.check(run, load)
        found["cost"] = side.cost_summary(costs, load["alerts"])
        return found

    found = {"ours": {}, "theirs": {}}
    for name, shape in shapes.items():
        for side, one in bench.both(lambda side, shape=shape: measure_shape(side, shape)).items():
            found[side][name] = one
    return {"parameters": {"seconds": seconds, "shapes": shapes}, **found}


def ratio(after, before):
    return round(after / before, 2) if after and before else None


ALL = {"accept": accept, "W1": w1, "W2": w2, "W3": w3, "W5": w5, "W8": w8}

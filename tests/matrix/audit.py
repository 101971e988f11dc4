"""Everything that was accepted is stored, once, and every count says so."""

from collections import Counter


def stored_once(lane, traffic):
    """Raises AssertionError with the ids that are missing, or there twice, or not as they should be."""
    rows = lane.sql(
        "SELECT a.labels->>'alertname', a.labels->>'instance', a.status, a.occurrences, "
        "(SELECT count(*) FROM occurrences o WHERE (o.tenant, o.fingerprint) = (a.tenant, a.fingerprint)) "
        f"FROM alerts a WHERE a.labels->>'service' = '{traffic.service}'"
    )
    for shape, accepted in traffic.accepted.items():
        mine = [(name, int(status), int(counted), int(there)) for s, name, status, counted, there in rows if s == shape]
        stored = Counter(name for name, *_ in mine)
        told(shape, "missing", [n for n in accepted if n not in stored])
        told(shape, "stored and never accepted", [n for n in stored if n not in accepted])
        told(shape, "doubled", [(n, c, t) for n, _, c, t in mine if (stored[n], c, t) != (1, 1, 1)])
        told(shape, "in the wrong state", [(n, s) for n, s, *_ in mine if s != accepted[n]])
    counts(lane, traffic)
    return True


def told(shape, what, wrong):
    assert not wrong, f"{shape}: {len(wrong)} {what}: {wrong[:5]}"


def counts(lane, traffic):
    """One incident of each shape, which counted each id once; and so did the anomaly's frequency, in all its windows."""
    rows = lane.sql(
        "SELECT i.alert_name, i.occurrences, i.alerts_total, i.level, n.occurrences, encode(n.frequency, 'hex') "
        "FROM incidents i JOIN anomalies n ON (n.tenant, n.key) = (i.tenant, i.anomaly_key) "
        f"WHERE i.service = '{traffic.service}' ORDER BY 1"
    )
    wanted = [[shape, len(ids), len(ids), level(len(ids)), len(ids), [len(ids)] * 4] for shape, ids in sorted(traffic.accepted.items())]
    seen = [[shape, *map(int, numbers), windows(bytes.fromhex(packed))] for shape, *numbers, packed in rows]
    assert seen == wanted, f"counts are {seen}, expected {wanted}"


def level(occurrences):
    return sum(occurrences >= n for n in (3, 5, 10))


def windows(packed):
    """The sums of the four rings of a packed frequency (common/frequency.c): all within the newest hour here."""
    numbers, shift, value = [], 0, 0
    for byte in packed[1:]:
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            numbers.append(value)
            shift, value = 0, 0
    sums, numbers = [], iter(numbers)
    for _ in range(4):
        next(numbers)  # the slot of the newest bucket
        total = 0
        for _gap in numbers:
            count = next(numbers)
            if count == 0:
                break
            total += count
        sums.append(total)
    return sums


def read_to_the_end(lane):
    """The offsets rows stand at the end of every topic that the processors read. Beats go on meanwhile, so ask again."""
    before = lane.ends()
    rows = lane.sql("SELECT topic, partition, next_offset FROM offsets WHERE grp = 'processor'")
    stands = {(topic, int(partition)): int(at) for topic, partition, at in rows}
    after = lane.ends()
    for topic, ends in before.items():
        if topic.startswith("raw.") or topic == "beat":
            for partition, end in enumerate(ends):
                at = stands.get((topic, partition), 0)
                assert end <= at <= after[topic][partition], f"{topic} {partition} is read to {at} of {end}"
    return True


def nothing_dead(lane):
    rows = lane.sql("SELECT headers->>'reason' FROM outbox WHERE topic = 'dead'")
    assert not rows and not any(lane.ends()["dead"]), (rows, lane.ends()["dead"])

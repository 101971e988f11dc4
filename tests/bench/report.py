"""Figures against their targets, and tables of the workloads."""


def pick(found, *path):
    """found[path[0]][path[1]] ... or None where it is not there."""
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def _most(figures):
    known = [f for f in figures if f is not None]
    return max(known) if known else None


# (what, unit, target in words, its test, ours, theirs). `lines` is {workload: its line}.
TARGETS = [
    (
        "single-alert POSTs accepted durably",
        "/s",
        ">= 20000 and >= 1x",
        lambda ours, theirs: ours >= 20000 and (not theirs or ours >= theirs),
        ("accept", "ours", "single", "accepted_per_s"),
        ("accept", "theirs", "single", "accepted_per_s"),
    ),
    (
        "alerts accepted durably in POSTs of 64, 100 groups",
        "/s",
        ">= 2x",
        lambda ours, theirs: bool(theirs) and ours >= 2 * theirs,
        ("accept", "ours", "batch_name", "accepted_per_s"),
        ("accept", "theirs", "batch_name", "accepted_per_s"),
    ),
    (
        "alerts accepted durably in POSTs of 64, a group per label set",
        "/s",
        ">= 10x",
        lambda ours, theirs: bool(theirs) and ours >= 10 * theirs,
        ("accept", "ours", "batch_each", "accepted_per_s"),
        ("accept", "theirs", "batch_each", "accepted_per_s"),
    ),
    (
        "alerts committed as incidents, end to end, POSTs of 64",
        "/s",
        ">= 60000",
        lambda ours, _: ours >= 60000,
        ("accept", "ours", "batch_incident", "committed_per_s"),
        None,
    ),
    (
        "POST to incident committed, p99 at 5,000/s",
        "ms",
        "<= 50",
        lambda ours, _: ours <= 50,
        ("W1", "ours", "5000", "probes", "commit_ms", "p99"),
        None,
    ),
    (
        "POST to first notification, p99, idle",
        "ms",
        "<= 150",
        lambda ours, _: ours <= 150,
        ("W1", "ours", "0", "probes", "notified_ms", "p99"),
        ("W1", "theirs", "0", "probes", "notified_ms", "p99"),
    ),
    (
        "POST to first notification, p99 at 5,000/s",
        "ms",
        "<= 1000",
        lambda ours, _: ours <= 1000,
        ("W1", "ours", "5000", "probes", "notified_ms", "p99"),
        ("W1", "theirs", "5000", "probes", "notified_ms", "p99"),
    ),
    (
        "workers' memory held per open incident (W3)",
        "B",
        "<= 2000",
        lambda ours, _: ours <= 2000,
        ("W3", "ours", "bytes_per_incident"),
        ("W3", "theirs", "bytes_per_incident"),
    ),
    (
        "idle RSS of the largest service",
        "MB",
        "<= 20",
        lambda ours, _: ours <= 20,
        ("idle", "ours", "largest_mb"),
        ("idle", "theirs", "largest_mb"),
    ),
]


def targets(lines):
    """[{"figure", "target", "ours", "theirs", "ratio", "met"}]; what was not measured is left out."""
    rows = []
    for figure, unit, words, test, ours_path, theirs_path in TARGETS:
        ours = pick(lines, *ours_path)
        theirs = pick(lines, *theirs_path) if theirs_path else None
        if ours is None:
            continue
        times = round(ours / theirs, 2) if theirs else None
        row = {"figure": f"{figure} [{unit}]", "target": words, "ours": ours, "theirs": theirs, "ratio": times}
        rows.append({**row, "met": bool(test(ours, theirs))})
    return rows


def table(headings, rows):
    """Columns as wide as they must be."""
    cells = [headings] + [["-" if c is None else f"{c:,}" if isinstance(c, (int, float)) and not isinstance(c, bool) else str(c) for c in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(headings))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in cells]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def target_table(rows):
    body = [[r["figure"], r["target"], r["ours"], r["theirs"], r["ratio"], "met" if r["met"] else "NOT MET"] for r in rows]
    return table(["figure", "target", "ours", "theirs", "ratio", ""], body)


def markdown(rows):
    """The same for the README."""
    lines = ["| figure | target | Tocsin | Alertmanager | ratio | met |", "|---|---|---|---|---|---|"]
    for r in rows:
        cells = ["-" if c is None else f"{c:,}" for c in (r["ours"], r["theirs"], r["ratio"])]
        lines.append(f"| {r['figure']} | {r['target']} | {' | '.join(cells)} | {'yes' if r['met'] else '**no**'} |")
    return "\n".join(lines)


def _steady_rows(found, side):
    for rate, one in found.items():
        if not isinstance(one, dict) or "probes" not in one:
            continue
        yield [
            f"{side} {rate}/s",
            one.get("accepted_per_s"),
            pick(one, "accept_ms", "p50"),
            pick(one, "accept_ms", "p99"),
            pick(one, "probes", "commit_ms", "p50"),
            pick(one, "probes", "commit_ms", "p99"),
            pick(one, "probes", "notified_ms", "p50"),
            pick(one, "probes", "notified_ms", "p99"),
            pick(one, "probes", "not_notified"),
            pick(one, "check", "lost"),
            pick(one, "check", "twice"),
            pick(one, "cost", "services_cpu_s_per_million"),
            pick(one, "cost", "servers_cpu_s_per_million"),
            pick(one, "cost", "services_peak_mb"),
        ]


STEADY = ["", "accepted/s", "accept p50", "p99 ms", "commit p50", "p99 ms", "told p50", "p99 ms", "untold", "lost", "twice", "cpu s/M", "servers'", "peak MB"]


def _accept_rows(line):
    for side in ("ours", "theirs"):
        for shape, one in line[side].items():
            yield [
                f"{side} {shape}",
                one["accepted_per_s"],
                one.get("committed_per_s"),
                one["accept_ms"]["p50"],
                one["accept_ms"]["p99"],
                one["unanswered"] + one["refused"],
                pick(one, "check", "lost"),
                pick(one, "check", "firing_differs"),
                one["cost"]["services_cpu_s_per_million"],
                one["cost"]["servers_cpu_s_per_million"],
                one["cost"]["services_peak_mb"],
            ]


ACCEPT = ["", "accepted/s", "committed/s", "p50 ms", "p99 ms", "refused", "lost", "firing differs", "cpu s/M", "servers'", "peak MB"]


def _storm_rows(line):
    for side in ("ours", "theirs"):
        one = line[side]
        yield [side, one["accepted_per_s"], one.get("committed_per_s"), one["drained_after_s"], pick(one, "check", "lost"), pick(one, "check", "firing_differs"), one["bytes_per_alert"], one["bytes_per_incident"], one["cost"]["workers_grown_mb"], one["cost"]["services_cpu_s_per_million"], one["cost"]["servers_cpu_s_per_million"], one["cost"]["services_peak_mb"]]


STORM = ["", "accepted/s", "committed/s", "drained after s", "lost", "firing differs", "B/alert", "B/incident", "grown MB", "cpu s/M", "servers'", "peak MB"]


def workload_table(line):
    """A workload's own table, or "" where the targets' table says it all."""
    name = line["workload"]
    if name == "W1":
        rows = [row for side in ("ours", "theirs") for row in _steady_rows(line[side], side)]
        knees = [f"knee: {side} {line[side]['knee']}" for side in ("ours", "theirs")]
        return "\n".join([table(STEADY, rows), *knees])
    if name in ("W2", "W8"):
        rows = [row for side in ("ours", "theirs") for row in _steady_rows(line[side], side)]
        keys = ("hot", "hot_notifications", "hot_heard", "p99_moved", "reads", "accept_p99_moved")
        rest = [f"{side} {key}: {line[side][key]}" for side in ("ours", "theirs") for key in keys if key in line[side]]
        return "\n".join([table(STEADY, rows), *rest])
    if name == "accept":
        return table(ACCEPT, list(_accept_rows(line)))
    if name == "W3":
        return table(STORM, list(_storm_rows(line)))
    if name == "W5":
        rows = [[kind, one["accept_ms"]["p50"], one["accept_ms"]["p99"], one["refused"], one["wrong"] or "none", one["unanswered"]] for kind, one in line["ours"].items() if isinstance(one, dict)]
        return table(["", "p50 ms", "p99 ms", "refused", "wrong answers", "unanswered"], rows) + f"\np99 moved: {line['ours']['p99_moved']}"
    return "\n".join(f"{side}: {line[side]}" for side in ("ours", "theirs") if side in line)

"""What processes cost, from /proc."""

import os
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def _stat(pid):
    """The fields of /proc/PID/stat from the state on, or None when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    except (OSError, IndexError):
        return None


def family(pid):
    """A process and all that it begot."""
    children = {}
    for entry in os.listdir("/proc"):
        stat = _stat(entry) if entry.isdigit() else None
        if stat:
            children.setdefault(int(stat[1]), []).append(int(entry))
    found, todo = [], [pid]
    while todo:
        found.append(todo.pop())
        todo += children.get(found[-1], [])
    return found


def cpu(pid):
    """CPU seconds of a process, of those that it begot, and of those of them that have ended."""
    total = 0
    for one in family(pid):
        stat = _stat(one)
        if stat:
            total += sum(map(int, stat[11:15]))
    return total / TICK


def _status(pid, key):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    return 0


def rss(pid):
    return _status(pid, "VmRSS")


def peak_rss(pid):
    return _status(pid, "VmHWM")


def forget_peak(pid):
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def shared_once(pid):
    """Bytes of a family in which what they share counts once (PSS): Postgres."""
    total = 0
    for one in family(pid):
        try:
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


class Costs:
    """CPU and memory of named processes from here on. {name: pid}"""

    def __init__(self, pids, peaks=True):
        self.pids = pids
        if peaks:
            for pid in pids.values():
                forget_peak(pid)
        self.before = {name: cpu(pid) for name, pid in pids.items()}
        self.rss_before = {name: rss(pid) for name, pid in pids.items()}

    def so_far(self):
        """{name: {"cpu_s", "peak_rss", "rss_grown", "rss_held"}}: grown to its peak, and held still."""
        return {
            name: {
                "cpu_s": round(cpu(pid) - self.before[name], 3),
                "peak_rss": peak_rss(pid),
                "rss_grown": peak_rss(pid) - self.rss_before[name],
                "rss_held": rss(pid) - self.rss_before[name],
            }
            for name, pid in self.pids.items()
        }

"""A stack of the benchmark's own, through deploy/dev, and what its database says afterwards."""

import json
import os
import subprocess
import time
from pathlib import Path

from procs import Costs, rss, shared_once
from programs import ROOT, quantiles

HERE = Path(__file__).resolve().parent
SERVICES = ("ingest", "processor", "notifier", "learner", "console")
WORKERS = ("processor", "notifier")
SERVERS = ("postgres", "kafka", "redis")
# Milliseconds between when a probe's request was due (its startsAt) and the commit of the transaction that opened its
# incident. The timeline's rows are written once, so their xmin is that transaction.
COMMIT_TIMES = """
SELECT extract(epoch FROM pg_xact_commit_timestamp(t.xmin)) * 1000 - a.starts_at
FROM timeline t JOIN alerts a ON a.tenant = t.tenant AND a.incident_id = t.incident_id
WHERE t.kind = 'opened' AND a.labels->>'namespace' = '{run}'
"""
# The same for everything that happened to a run's incidents, from the receive time in the record.
NEWS_TIMES = """
SELECT extract(epoch FROM pg_xact_commit_timestamp(t.xmin)) * 1000 - t.at
FROM timeline t JOIN incidents i ON i.tenant = t.tenant AND i.id = t.incident_id
WHERE i.namespace = '{run}' AND t.kind IN ('opened', 'reopened', 'resolved')
"""
FOUND = """
SELECT count(*), count(*) FILTER (WHERE status = 1),
  (SELECT count(*) FROM occurrences o JOIN alerts b ON b.tenant = o.tenant AND b.fingerprint = o.fingerprint
   WHERE b.labels->>'namespace' = '{run}'),
  (SELECT count(*) FROM incidents WHERE namespace = '{run}')
FROM alerts WHERE labels->>'namespace' = '{run}'
"""


class Sql:
    """One psql that stays: starting one for each question would be load of its own."""

    def __init__(self, url, schema):
        environ = {**os.environ, "PGOPTIONS": f"-c search_path={schema} -c statement_timeout=0"}
        command = ["psql", "-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=0", url]
        self._psql = subprocess.Popen(
            command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def rows(self, query):
        self._psql.stdin.write(query.strip().rstrip(";") + ";\n\\echo .end\n")
        self._psql.stdin.flush()
        lines = []
        for line in iter(self._psql.stdout.readline, ".end\n"):
            if not line or "ERROR:" in line:
                raise RuntimeError(f"psql: {line or 'it has ended'}")
            lines.append(line.rstrip("\n").split("\t"))
        return lines

    def number(self, query):
        return int(self.rows(query)[0][0] or 0)

    def close(self):
        self._psql.stdin.close()
        self._psql.wait()


class Ours:
    name = "ours"
    durability = "acks=all in Kafka (fsynced spool while Kafka is away), then one Postgres commit"
    path = "/api/v2/alerts"

    def __init__(self, home, port_base, sink):
        self.home, self.sink = Path(home), sink
        config = Path(home).with_suffix(".yml")
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text((HERE / "tocsin.yml").read_text().replace("@SINK@", sink.address))
        self._environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith("TOCSIN_")},
            "TOCSIN_HOME": str(home),
            "TOCSIN_PORT_BASE": str(port_base),
            "TOCSIN_CONFIG": str(config),
        }

    def dev(self, *arguments):
        command = [ROOT / "deploy" / "dev", *arguments]
        done = subprocess.run(command, env=self._environ, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"deploy/dev {' '.join(arguments)}: {done.stdout}\n{done.stderr}")
        return done.stdout

    def up(self):
        """Postgres keeps the time of each commit, for COMMIT_TIMES; nothing else differs from what is shipped."""
        self.dev("reset")
        self.dev("up", "postgres")
        home = self._addresses()["TOCSIN_HOME"]
        with open(Path(home) / "pg" / "data" / "postgresql.conf", "a", encoding="utf-8") as file:
            file.write("track_commit_timestamp = on\n")
        self.dev("restart", "postgres")
        self.dev("up")
        self.addresses = self._addresses()
        self.address = self.addresses["TOCSIN_INGEST_URL"].removeprefix("http://")
        self.console = self.addresses["TOCSIN_CONSOLE_URL"].removeprefix("http://")
        self.pids = {p["name"]: p["pid"] for p in map(json.loads, self.dev("status", "--json").splitlines())}
        self.sql = Sql(self.addresses["DATABASE_URL"], self.addresses["TOCSIN_SCHEMA"])
        return self

    def down(self):
        if hasattr(self, "sql"):
            self.sql.close()
        self.dev("reset")

    def fresh(self):
        """Nothing to do: every run has label sets of its own."""
        return self

    def rest(self):
        """Its processes stay, idle, while the peer works."""

    def _addresses(self):
        script = 'set -a; eval "$1"; env -0'
        out = subprocess.run(["bash", "-c", script, "env", self.dev("env")], env=self._environ, capture_output=True, text=True, check=True)
        return dict(line.split("=", 1) for line in out.stdout.split("\0") if line)

    def idle_rss(self):
        return {name: rss(self.pids[name]) for name in SERVICES}

    def costs(self):
        return Costs({name: self.pids[name] for name in SERVICES + SERVERS})

    def cost_summary(self, costs, alerts):
        """CPU seconds and peak memory, of the services and of the servers apart, for a million alerts."""
        spent = costs.so_far()
        million = max(alerts, 1) / 1e6
        return {
            "services_cpu_s_per_million": round(sum(spent[n]["cpu_s"] for n in SERVICES) / million, 2),
            "servers_cpu_s_per_million": round(sum(spent[n]["cpu_s"] for n in SERVERS) / million, 2),
            "cpu_s": {name: spent[name]["cpu_s"] for name in spent},
            "services_peak_mb": round(sum(spent[n]["peak_rss"] for n in SERVICES) / 1e6, 1),
            "servers_mb": round(sum(shared_once(self.pids[n]) for n in SERVERS) / 1e6, 1),
            **{f"workers_{key}_mb": round(sum(spent[n][f"rss_{key}"] for n in WORKERS) / 1e6, 2) for key in ("grown", "held")},
        }

    # What became of what was sent

    def position(self):
        """Records committed so far."""
        return self.sql.number("SELECT coalesce(sum(next_offset), 0) FROM offsets WHERE topic LIKE '%raw.%'")

    def wait_committed(self, position, deadline=600):
        """Seconds since 1970 when that many records were committed; None when they were not in time."""
        end = time.time() + deadline
        while self.position() < position:
            if time.time() > end:
                return None
            time.sleep(0.02)
        return time.time()

    def wait_told(self, deadline=120):
        """Until no notification is under way."""
        end = time.time() + deadline
        query = "SELECT count(*) FROM notifications WHERE state IN ('pending', 'sending')"
        while self.sql.number(query) > 0 and time.time() < end:
            time.sleep(0.1)

    def _times(self, query):
        return quantiles([float(row[0]) for row in self.sql.rows(query)])

    def commit_ms(self, run):
        return self._times(COMMIT_TIMES.format(run=run))

    def news_ms(self, run):
        return self._times(NEWS_TIMES.format(run=run))

    def check(self, run, sent):
        """What is in Postgres against what was answered 2xx. Exact when every request was answered so."""
        alerts, firing, occurrences, incidents = map(int, self.sql.rows(FOUND.format(run=run))[0])
        return {
            "lost": max(0, sent["keys"] - alerts) + max(0, sent["starts"] - occurrences),
            "twice": max(0, occurrences - sent["starts"]),
            "firing_differs": abs(firing - sent["firing"]),
            "exact": sent["accepted"] == sent["requests"] and not sent["unsent"],
            "incidents": incidents,
        }

    def notifications(self, run):
        rows = self.sql.rows(
            "SELECT n.kind, n.state, count(*) FROM notifications n JOIN incidents i ON i.tenant = n.tenant "
            f"AND i.id = n.incident_id WHERE i.namespace = '{run}' GROUP BY 1, 2 ORDER BY 1, 2"
        )
        return {f"{kind} {state}": int(n) for kind, state, n in rows}

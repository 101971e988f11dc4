"""Debian's Alertmanager on ports of its own, started anew for each workload: it keeps what it was sent for long."""

import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from procs import Costs, rss

HERE = Path(__file__).resolve().parent
PROGRAM = "/usr/bin/prometheus-alertmanager"


class Theirs:
    name = "theirs"
    durability = "memory only (silences and the notification log go to disk every 15 minutes)"
    path = "/api/v2/alerts"

    def __init__(self, home, port, sink):
        self.home, self.address, self.console = Path(home), f"127.0.0.1:{port}", f"127.0.0.1:{port}"
        self._config = Path(home).with_suffix(".yml")
        self._config.write_text((HERE / "alertmanager.yml").read_text().replace("@SINK@", sink.address))
        self._process = None

    @staticmethod
    def version():
        done = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=True)
        return (done.stdout + done.stderr).split()[2]

    def fresh(self):
        self.rest()
        shutil.rmtree(self.home, ignore_errors=True)
        self.home.mkdir(parents=True)
        command = [
            PROGRAM,
            f"--config.file={self._config}",
            f"--storage.path={self.home}",
            f"--web.listen-address={self.address}",
            "--cluster.listen-address=",
            "--log.level=error",
        ]
        with open(self.home.with_suffix(".log"), "a", encoding="utf-8") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.home)
        for _ in range(200):
            try:
                with urllib.request.urlopen(f"http://{self.address}/-/ready", timeout=1):
                    break
            except (OSError, urllib.error.URLError):
                time.sleep(0.1)
        else:
            raise RuntimeError("Alertmanager is not ready in time")
        time.sleep(1)
        return self

    def rest(self):
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def idle_rss(self):
        return {"alertmanager": rss(self._process.pid)}

    def costs(self):
        return Costs({"alertmanager": self._process.pid})

    def cost_summary(self, costs, alerts):
        spent = costs.so_far()["alertmanager"]
        return {
            "services_cpu_s_per_million": round(spent["cpu_s"] / (max(alerts, 1) / 1e6), 2),
            "servers_cpu_s_per_million": 0,
            "cpu_s": {"alertmanager": spent["cpu_s"]},
            "services_peak_mb": round(spent["peak_rss"] / 1e6, 1),
            "servers_mb": 0,
            "workers_grown_mb": round(spent["rss_grown"] / 1e6, 2),
            "workers_held_mb": round(spent["rss_held"] / 1e6, 2),
        }

    def position(self):
        return 0

    def wait_committed(self, position, deadline=600):
        return time.time()

    def wait_told(self, deadline=120):
        pass

    def commit_ms(self, run):
        return {"n": 0}

    news_ms = commit_ms

    def active(self):
        """Alerts that it holds firing."""
        with urllib.request.urlopen(f"http://{self.address}/metrics", timeout=60) as answer:
            lines = answer.read().decode().splitlines()
        return sum(int(float(line.split()[-1])) for line in lines if line.startswith('alertmanager_alerts{state="active"}'))

    def check(self, run, sent):
        """By all that it is to hold firing by now. It counts an alert once a group has looked at it."""
        end = time.time() + 20
        while self.active() != sent["firing"] and time.time() < end:
            time.sleep(0.5)
        return {"firing_differs": abs(self.active() - sent["firing"])}

    def notifications(self, run):
        return {}

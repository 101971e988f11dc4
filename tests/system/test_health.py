"""Every service says how it is, and counts what it does."""

import re

import bodies
import pytest
from stack import OURS, Client, wait

SAMPLE = re.compile(r'[a-zA-Z_:][\w:]*(\{[^}]*\})? [-+0-9.eE]+(Inf|NaN)?')


def of(stack, service):
    return Client(f"http://127.0.0.1:{stack.status()[service]['port']}")


@pytest.mark.parametrize("service", OURS)
def test_health_and_metrics(stack, service):
    client = of(stack, service)
    wait("it to be well", lambda: client.get("/health")["status"] == "ok")
    assert client.request("GET", "/healthz")[0] == 200
    wait("it to be ready", lambda: client.request("GET", "/readyz")[0] == 200)
    status, text = client.request("GET", "/metrics")
    lines = [line for line in text.decode().splitlines() if line and not line.startswith("#")]
    assert status == 200 and any(line.startswith("tocsin_") for line in lines)
    assert [line for line in lines if not SAMPLE.fullmatch(line)] == []
    assert client.request("GET", "/nothing")[0] == 404


@pytest.mark.parametrize("dependency", ["db", "redis", "kafka"])
def test_console_knows_each_dependency(stack, dependency):
    wait(dependency, lambda: of(stack, "console").request("GET", f"/health/{dependency}")[0] == 200)


def test_health_names_what_is_away(stack):
    stack.kill("redis")
    try:
        console = of(stack, "console")
        wait("redis to be missed", lambda: console.request("GET", "/health/redis")[0] == 503)
        wait("nothing else to be", lambda: console.request("GET", "/health/db")[0] == 200)
    finally:
        stack.restart("redis")
    wait("redis to be back", lambda: of(stack, "console").request("GET", "/health/redis")[0] == 200)


def test_alerts_received_are_counted(stack, name):
    def received():
        text = of(stack, "ingest").request("GET", "/metrics")[1].decode()
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith("alertmanager_alerts_received_total"))

    before = received()
    stack.send("/webhook/alertmanager", bodies.webhook(*[bodies.one_alert(name, instance=str(n)) for n in range(5)]))
    wait("five more", lambda: received() >= before + 5)


def test_the_page_is_served(stack):
    status, page = of(stack, "console").request("GET", "/")
    assert status == 200 and b"<html" in page.lower()

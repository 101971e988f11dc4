import json
import urllib.parse
import urllib.request
import uuid

import pytest

import stack
import webdriver

_http = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Tocsin:
    """The running stack, seen from outside: alerts go in at ingest, the console shows them."""

    def __init__(self, console, ingest, channels, database):
        self.console = console.rstrip("/")
        self.ingest = ingest.rstrip("/")
        self.channels = channels
        self.database = database

    def fetch(self, path):
        with _http.open(self.console + path, timeout=webdriver.WAIT_S) as response:
            return response.headers, response.read()

    def get(self, path):
        return json.loads(self.fetch(path)[1])

    def post_alerts(self, alerts):
        """One Alertmanager webhook; answered 2xx, or this raises."""
        body = {
            "version": "4",
            "groupKey": "{}:{page=%s}" % uuid.uuid4(),
            "truncatedAlerts": 0,
            "status": "firing",
            "receiver": "tocsin",
            "groupLabels": {},
            "commonLabels": {},
            "commonAnnotations": {},
            "externalURL": "http://alertmanager.invalid",
            "alerts": alerts,
        }
        request = urllib.request.Request(
            self.ingest + "/webhook/alertmanager",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with _http.open(request, timeout=webdriver.WAIT_S) as response:
            response.read()

    def incidents(self, **filters):
        return self.get("/api/v1/incidents?" + urllib.parse.urlencode(filters))["incidents"]


@pytest.fixture(scope="session")
def tocsin():
    with stack.running() as found:
        yield Tocsin(*found)


@pytest.fixture
def database(tocsin):
    """Runs SQL, for what would take too long to send."""
    if tocsin.database is None:
        pytest.skip("the rows of a stack that is not ours are not ours to write")
    return tocsin.database


@pytest.fixture(scope="session")
def driver():
    driver = webdriver.Driver()
    yield driver
    driver.stop()


@pytest.fixture
def browser(driver):
    browser = webdriver.Browser(driver)
    yield browser
    browser.quit()


@pytest.fixture
def service():
    """A service name that nothing else in this stack has: the test's own corner of it."""
    return f"svc-{uuid.uuid4().hex[:12]}"

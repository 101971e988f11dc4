"""A W3C WebDriver client for Debian's chromium: just what the page's tests need."""

import json
import queue
import re
import shutil
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
WAIT_S = 60
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--no-proxy-server",
]
KEYS = {"Tab": "\ue004", "Enter": "\ue007"}

# A proxy set for the machine must not stand between the test and loopback.
_http = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class WebDriverError(Exception):
    def __init__(self, error, message):
        super().__init__(f"{error}: {message}")
        self.error = error


class Driver:
    """A chromedriver on a port of its own choice."""

    def __init__(self):
        if not shutil.which("chromedriver") or not shutil.which("chromium"):
            raise RuntimeError("missing: apt-get install chromium chromium-driver")
        self._process = subprocess.Popen(
            ["chromedriver", "--port=0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            self.url = f"http://127.0.0.1:{self._port()}"
        except BaseException:
            self.stop()
            raise

    def _port(self):
        lines = queue.Queue()
        # chromedriver blocks when nobody reads its output, so this reads to the end.
        threading.Thread(target=self._read, args=(lines,), daemon=True).start()
        said = []
        while (line := lines.get(timeout=WAIT_S)) is not None:
            if match := re.search(r"started successfully on port (\d+)", line):
                return int(match[1])
            said.append(line)
        raise RuntimeError("chromedriver ended: " + "".join(said))

    def _read(self, lines):
        for line in self._process.stdout:
            lines.put(line)
        lines.put(None)

    def stop(self):
        self._process.terminate()
        self._process.wait()


class Browser:
    """One session with a fresh profile; every look-up waits for what it looks for."""

    def __init__(self, driver, width=1280, height=900):
        self._profile = tempfile.TemporaryDirectory(
            prefix="tocsin-browser-", ignore_cleanup_errors=True
        )
        options = {
            "binary": shutil.which("chromium"),
            "args": [
                *FLAGS,
                f"--user-data-dir={self._profile.name}",
                f"--window-size={width},{height}",
            ],
        }
        capabilities = {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        self._base = driver.url
        created = self._call("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})
        self._base += f"/session/{created['sessionId']}"

    def quit(self):
        try:
            self._call("DELETE", "")
        finally:
            self._profile.cleanup()

    def _call(self, method, path, body=None):
        data = None if method != "POST" else json.dumps(body or {}).encode()
        request = urllib.request.Request(
            self._base + path, data, {"Content-Type": "application/json"}, method=method
        )
        try:
            with _http.open(request, timeout=2 * WAIT_S) as response:
                return json.load(response)["value"]
        except urllib.error.HTTPError as e:
            value = json.load(e)["value"]
            raise WebDriverError(value["error"], value["message"]) from None

    def open(self, url):
        self._call("POST", "/url", {"url": url})

    def script(self, source, *args):
        return self._call("POST", "/execute/sync", {"script": source, "args": list(args)})

    def cdp(self, command, **params):
        return self._call("POST", "/goog/cdp/execute", {"cmd": command, "params": params})

    def offline(self, off):
        """Cuts the browser's network, and nothing else."""
        self._call(
            "POST",
            "/chromium/network_conditions",
            {"network_conditions": {"offline": off, "latency": 0, "throughput": -1}},
        )

    def console_log(self):
        return self._call("POST", "/se/log", {"type": "browser"})

    def find(self, css):
        """The first visible match, as soon as there is one."""
        return self.wait(lambda: self._visible(css), f"a visible {css}")

    def _visible(self, css):
        for found in self._call("POST", "/elements", {"using": "css selector", "value": css}):
            if self._call("GET", f"/element/{found[ELEMENT]}/displayed"):
                return found[ELEMENT]
        return None

    def text(self, css):
        return self.wait(lambda: self._text(css), f"text in {css}")

    def _text(self, css):
        source = "const e = document.querySelector(arguments[0]); return e && e.innerText"
        return self.script(source, css)

    def wait_text(self, css, wanted):
        """Waits until `wanted` stands in the text of `css`."""
        self.wait(lambda: wanted in (self._text(css) or ""), f"{wanted!r} in {css}")

    def texts(self, css):
        source = "return [...document.querySelectorAll(arguments[0])].map(e => e.innerText)"
        return self.script(source, css)

    def count(self, css):
        return self.script("return document.querySelectorAll(arguments[0]).length", css)

    def click(self, css):
        # A live page may replace an element between the look and the click: look again.
        def attempt():
            if element := self._visible(css):
                self._call("POST", f"/element/{element}/click")
                return True
            return False

        self.wait(attempt, f"a click on {css}")

    def type(self, css, text):
        self._call("POST", f"/element/{self.find(css)}/value", {"text": text})

    def press(self, *names):
        steps = []
        for name in names:
            key = KEYS[name]
            steps += [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        keyboard = {"type": "key", "id": "keyboard", "actions": steps}
        self._call("POST", "/actions", {"actions": [keyboard]})

    def choose(self, css, value):
        """Chooses an option as a person does, so that the page's own listener runs."""
        self.click(f'{css} option[value="{value}"]')

    def wait(self, condition, what):
        """Waits until `condition` is true and returns what it returned."""
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                if result := condition():
                    return result
            except WebDriverError as e:
                if e.error not in ("stale element reference", "element click intercepted"):
                    raise
            if time.monotonic() > deadline:
                page = self.script("return document.body.innerText")
                raise AssertionError(f"waited {WAIT_S} s for {what}; the page says:\n{page}")
            time.sleep(0.1)

"""Where the tests find a running Tocsin: the harness's, or one of their own."""

import os
import pathlib
import shlex
import subprocess
import sys
import tempfile
from contextlib import contextmanager

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests" / "fakes"))

from http_fake import HttpFake  # noqa: E402

PORT_BASE = "22000"
CHANNELS_PORT = 22010  # also in tocsin.yml
NAMES = ("TOCSIN_CONSOLE_URL", "TOCSIN_INGEST_URL")


@contextmanager
def running():
    """Yields (console URL, ingest URL, the fake channels, its database); None, None where the stack is not ours."""
    given = [os.environ.get(name) for name in NAMES]
    if all(given):
        yield (*given, None, None)
        return
    if any(given):
        raise RuntimeError("set both or none of " + ", ".join(NAMES))
    with tempfile.TemporaryDirectory(prefix="tocsin-page-", ignore_cleanup_errors=True) as home:
        config = pathlib.Path(__file__).with_name("tocsin.yml")
        env = dict(os.environ, TOCSIN_HOME=home, TOCSIN_PORT_BASE=PORT_BASE, TOCSIN_CONFIG=str(config))
        channels = HttpFake(CHANNELS_PORT).start()
        # The servers run as another user, who must be able to enter.
        os.chmod(home, 0o755)
        try:
            _dev("up", env)
            values = _variables(_dev("env", env))
            database = lambda sql: _dev("psql", env, "-Xq", "-v", "ON_ERROR_STOP=1", "-c", sql)
            yield (*(values[name] for name in NAMES), channels, database)
        finally:
            _dev("down", env)
            channels.stop()


def _dev(verb, env, *arguments):
    done = subprocess.run(
        [ROOT / "deploy" / "dev", verb, *arguments],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    if done.returncode != 0:
        raise RuntimeError(f"deploy/dev {verb} failed:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def _variables(text):
    """NAME=value lines as a shell reads them, with or without export."""
    words = (word.partition("=") for word in shlex.split(text, comments=True))
    return {name: value for name, equals, value in words if equals}

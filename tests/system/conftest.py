import itertools
import os
import shutil
import tempfile

import pytest
from stack import Stack

# Two runs on one database must not meet, nor two tests.
_names = (f"t{os.getpid()}x{n}" for n in itertools.count(1))


@pytest.fixture(scope="session")
def stack():
    # Not pytest's own directory: that is closed to the user that Postgres runs as.
    home = tempfile.mkdtemp(prefix="tocsin-system-")
    os.chmod(home, 0o755)
    stack = Stack(home)
    try:
        yield stack.up()
    finally:
        stack.down()
    shutil.rmtree(home)


@pytest.fixture
def name():
    """A service of this test's own: its anomalies and incidents are nobody else's."""
    return next(_names)


@pytest.fixture(autouse=True)
def no_faults_left(request):
    yield
    if "stack" in request.fixturenames:
        stack = request.getfixturevalue("stack")
        stack.faults.clear()
        stack.web.endpoints.reset()

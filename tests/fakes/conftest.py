import pytest
from http_fake import HttpFake


@pytest.fixture(scope="module")
def server():
    with HttpFake() as fake:
        yield fake


@pytest.fixture
def fake(server):
    server.faults.clear()
    server.endpoints.reset()
    return server

"""However many keep-alive connections post at once, every request is answered."""

import asyncio
import json
import urllib.parse

import bodies
import pytest
from stack import wait

ROUNDS = 3


async def post_on(reader, writer, body):
    writer.write(b"POST /webhook/alertmanager HTTP/1.1\r\nHost: tocsin\r\nContent-Type: application/json\r\n")
    writer.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
    await writer.drain()
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    await reader.readexactly(length)
    return int(head.split()[1])


async def post_all(url, connections, requests):
    """Statuses of ROUNDS posts on each connection; all connections are open before the first post."""
    address = urllib.parse.urlsplit(url)
    pairs = [await asyncio.open_connection(address.hostname, address.port) for _ in range(connections)]
    statuses = []
    for _ in range(ROUNDS):
        posts = [post_on(*pair, next(requests)) for pair in pairs]
        statuses += await asyncio.wait_for(asyncio.gather(*posts), 120)
    for _, writer in pairs:
        writer.close()
    return statuses


@pytest.mark.parametrize("connections", [127, 128, 129, 256, 512])
def test_every_request_is_answered(stack, name, connections):
    alerts = (bodies.one_alert(name, instance=str(n)) for n in range(connections * ROUNDS))
    requests = (json.dumps(bodies.webhook(a)).encode() for a in alerts)
    statuses = asyncio.run(post_all(stack.ingest_url, connections, requests))
    assert statuses == [200] * connections * ROUNDS
    wait("all alerts in one incident", lambda: stack.incident(name)["alerts_total"] == connections * ROUNDS)

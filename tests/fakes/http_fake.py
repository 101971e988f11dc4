#!/usr/bin/python3
"""The vendors' HTTP endpoints on one local port: chat robots and webhooks, and the generic webhook for other paths.

They check a request as the vendor does, answer as the vendor does, and keep a journal of both.
Control, for tests and the demo:
  POST /_control {"channel": "slack", "key": "X", "answers": ["429", "500*3", …]}   see faults.py
  GET  /_log?since=N      {"records": […], "next": N}
  POST /_reset            forget queued faults and used-up rates
The key is what each fake's key() says, mostly the token in the address; the recipient of a mail; or `*`.
"""

import argparse
import http.server
import importlib
import json
import os
import select
import signal
import socket
import struct
import threading
import time
import urllib.parse
from pathlib import Path

import smtp_fake
from faults import Faults
from journal import Journal
from reply import JSON, PLAIN, Reply, Request

MAX_BODY = 8 << 20
HANG_CAP_S = 600


def endpoints():
    """One of each class in this folder that has a channel and a path, the longest path first."""
    found = set()
    for file in sorted(Path(__file__).resolve().parent.glob("*.py")):
        if not file.stem.startswith("test_") and file.stem not in ("conftest", "http_fake"):
            found |= {one for one in vars(importlib.import_module(file.stem)).values() if isinstance(one, type)}
    fakes = (one for one in found if hasattr(one, "channel") and hasattr(one, "prefix"))
    return sorted((fake() for fake in fakes), key=lambda one: -max(map(len, prefixes(one))) - len(suffix(one)))


def prefixes(fake):
    return fake.prefix if isinstance(fake.prefix, tuple) else (fake.prefix,)


def suffix(fake):
    return getattr(fake, "suffix", "")


class Endpoints:
    """Which fake answers for which path: the first whose prefix, and suffix if it has one, fits. The webhook's takes every path."""

    def __init__(self):
        self._all = endpoints()

    def of(self, path):
        return next(one for one in self._all if path.startswith(one.prefix) and path.endswith(suffix(one)))

    def reset(self):
        for one in self._all:
            one.reset()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "fake"
    # Answers are one small write each; without this they wait for the peer's delayed ACK.
    disable_nagle_algorithm = True

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        if url.path == "/_log":
            since = int(urllib.parse.parse_qs(url.query).get("since", ["0"])[0])
            records = self.server.journal.since(since)
            return self._json(200, {"records": records, "next": since + len(records)})
        return self._vendor(b"")

    def do_POST(self):
        body = self._body()
        if body is None:
            return self._send(Reply(False, 411, PLAIN, b"length required", "411", ""))
        if self.path == "/_control":
            return self._control(body)
        if self.path == "/_reset":
            self.server.faults.clear()
            self.server.endpoints.reset()
            return self._json(200, {})
        return self._vendor(body)

    do_PATCH = do_POST
    do_PUT = do_POST
    do_DELETE = do_GET
    do_HEAD = do_GET

    def log_message(self, format, *args):
        """The journal says it better."""

    def _body(self):
        length = self.headers.get("Content-Length", "")
        if length.isdigit() and int(length) <= MAX_BODY:
            return self.rfile.read(int(length))
        self.close_connection = True
        return None

    def _control(self, body):
        try:
            order = json.loads(body)
            self.server.faults.push(order["channel"], order.get("key", "*"), order["answers"])
        except (KeyError, TypeError, ValueError) as reason:
            return self._json(400, {"error": str(reason)})
        return self._json(200, {})

    def _vendor(self, body):
        url = urllib.parse.urlsplit(self.path)
        request = Request(self.command, url.path, urllib.parse.parse_qs(url.query), self.headers, body)
        endpoint = self.server.endpoints.of(url.path)
        answer = self.server.faults.take(endpoint.channel, endpoint.key(request))
        verb, _, argument = answer.partition(":")
        if verb == "slow":
            time.sleep(float(argument))
        if verb in ("ok", "slow", "lost"):
            reply = endpoint.decide(request)
        elif verb == "200body":
            reply = endpoint.fault(argument)
        elif verb.isdigit() and hasattr(endpoint, "refuse"):
            reply = endpoint.refuse(int(verb), argument)
        else:
            reply = _status(verb, argument)
        self._record(endpoint, body, reply, "lost" if verb == "lost" else reply.answer)
        self._finish(verb, reply)

    def _record(self, endpoint, body, reply, answer):
        self.server.journal.add(endpoint.channel, self.path, reply.accepted, answer, reply.text, body)

    def _finish(self, verb, reply):
        if verb == "hang":
            select.select([self.connection], [], [], HANG_CAP_S)
        if verb == "reset":
            # Linger zero turns the close into a reset; detached, since the server would say FIN first.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())
        if verb in ("hang", "reset", "close", "lost"):
            self.close_connection = True
            return
        self._send(reply)

    def _json(self, status, value):
        self._send(Reply(True, status, JSON, json.dumps(value, ensure_ascii=False).encode(), "", ""))

    def _send(self, reply):
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)


def _status(verb, argument):
    """A bare HTTP status; Retry-After where the vendors give one."""
    if not verb.isdigit():
        return Reply(False, 0, PLAIN, b"", verb, "")
    headers = dict(PLAIN)
    if argument or verb == "429":
        headers["Retry-After"] = argument or "2"
    return Reply(False, int(verb), headers, b"fault on demand", verb, "")


class HttpFake(http.server.ThreadingHTTPServer):
    """Serves from its own threads between start() and stop(); port 0 picks a free one."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 512

    def __init__(self, port=0, journal=None, faults=None):
        super().__init__(("127.0.0.1", port), Handler)
        self.journal = journal or Journal()
        self.faults = faults or Faults()
        self.endpoints = Endpoints()
        self.port = self.server_address[1]

    def handle_error(self, request, client_address):
        """A peer that goes away is part of the play."""

    def start(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        return self

    def stop(self):
        self.shutdown()
        self.server_close()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--log", help="append a JSON line per request to this file")
    parser.add_argument("--print", dest="show", action="store_true", help="show what arrived, for people")
    parser.add_argument("--smtp-port", type=int, help="serve SMTP too, under the same control")
    args = parser.parse_args()
    journal, faults = Journal(args.log, args.show), Faults()
    running = [HttpFake(args.port, journal, faults).start()]
    if args.smtp_port is not None:
        running.append(smtp_fake.SmtpFake(args.smtp_port, journal, faults).start())
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    for server in running:
        server.stop()
    journal.close()


if __name__ == "__main__":
    # Blocked before any thread starts, so that every thread inherits it and sigwait() alone sees it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main()

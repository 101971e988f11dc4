#!/usr/bin/python3
"""An SMTP server that takes mail for anybody, checks it, and shows it as a mail reader would.

Faults (see faults.py) are queued per recipient or `*` under the channel `email` and consumed one per RCPT:
  451, 550      refused at RCPT
  421           the session ends at DATA
  close, lost   the connection ends after the final dot without a 250 (`lost`: the message was taken)
  hang          no answer after the final dot
  slow:SECONDS  a late 250
Started alone, `--control-port` serves the control endpoint that http_fake.py describes.
"""

import argparse
import base64
import binascii
import email
import email.policy
import re
import select
import signal
import socketserver
import ssl
import threading
import time

from faults import Faults
from journal import Journal

MAX_SIZE = 10 << 20
MAX_LINE = 1000  # RFC 5321: with the CRLF
PATH = re.compile(r"(?:FROM|TO):\s*<([^<>\s]*)>((?:\s+\S+)*)", re.I)
REQUIRED = ("From", "To", "Subject", "Date", "Message-ID")


class Quit(Exception):
    """The session is over; nothing more is said."""


class Session(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def handle(self):
        self.greeted = False
        self.authenticated = False
        self._forget()
        try:
            self._say("220 fake.local ESMTP")
            while True:
                self._command(self._line())
        except (Quit, OSError):
            pass

    def _forget(self):
        self.sender, self.recipients, self.plan = None, [], "ok"

    def _say(self, line):
        self.wfile.write(line.encode("ascii") + b"\r\n")

    def _line(self):
        line = self.rfile.readline(MAX_LINE + 1)
        if not line.endswith(b"\n"):
            raise Quit
        return line

    def _command(self, line):
        word, _, rest = line.decode("ascii", "replace").strip().partition(" ")
        verb = getattr(self, "_do_" + word.lower(), None) if word.isalpha() else None
        if verb is None:
            return self._say("500 5.5.2 command not recognised")
        if not line.endswith(b"\r\n"):
            return self._say("500 5.5.2 line must end in CR LF")
        return verb(rest)

    def _do_helo(self, _):
        self.greeted = True
        self._say("250 fake.local")

    def _do_ehlo(self, _):
        self.greeted = True
        self._forget()
        extra = ["STARTTLS"] if self.server.tls and not isinstance(self.connection, ssl.SSLSocket) else []
        extra += ["AUTH PLAIN LOGIN"] if self.server.login else []
        lines = ["fake.local", "8BITMIME", f"SIZE {MAX_SIZE}"] + extra
        for line in lines[:-1]:
            self._say("250-" + line)
        self._say("250 " + lines[-1])

    def _do_starttls(self, _):
        if not self.server.tls or isinstance(self.connection, ssl.SSLSocket):
            return self._say("502 5.5.1 not offered")
        self._say("220 2.0.0 go ahead")
        self.connection = self.server.tls.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb", 0)
        self.greeted = False
        return None

    def _do_auth(self, rest):
        if not self.server.login:
            return self._say("502 5.5.1 not offered")
        scheme, _, initial = rest.partition(" ")
        try:
            if scheme.upper() == "PLAIN":
                given = (initial and _base64(initial)) or self._ask("")
                given = given.split("\0")[1:]
            elif scheme.upper() == "LOGIN":
                given = [self._ask("Username:"), self._ask("Password:")]
            else:
                return self._say("504 5.5.4 unknown mechanism")
        except (binascii.Error, UnicodeError):
            return self._say("501 5.5.2 not base64")
        self.authenticated = given == list(self.server.login)
        return self._say("235 2.7.0 welcome" if self.authenticated else "535 5.7.8 credentials invalid")

    def _ask(self, prompt):
        self._say("334 " + base64.b64encode(prompt.encode()).decode())
        return _base64(self._line().decode("ascii").strip())

    def _do_mail(self, rest):
        match = PATH.fullmatch(rest)
        if not self.greeted or self.sender is not None:
            return self._say("503 5.5.1 bad sequence")
        if self.server.login and not self.authenticated:
            return self._say("530 5.7.0 authentication required")
        if not match:
            return self._say("501 5.5.4 syntax: MAIL FROM:<address>")
        size = re.search(r"SIZE=(\d+)", match[2], re.I)
        if size and int(size[1]) > MAX_SIZE:
            return self._say("552 5.3.4 message too big")
        self.sender = match[1]
        return self._say("250 2.1.0 sender ok")

    def _do_rcpt(self, rest):
        match = PATH.fullmatch(rest)
        if self.sender is None:
            return self._say("503 5.5.1 MAIL first")
        if not match or "@" not in match[1]:
            return self._say("501 5.1.3 bad recipient address")
        answer = self.server.faults.take("email", match[1])
        code = answer.partition(":")[0]
        if code in ("451", "550"):
            reason = "4.3.0 try again later" if code == "451" else "5.1.1 no such user"
            self._record(match[1], False, f"{code} {reason}", "", b"")
            return self._say(f"{code} {reason}")
        if answer != "ok":
            self.plan = answer
        self.recipients.append(match[1])
        return self._say("250 2.1.5 recipient ok")

    def _do_data(self, _):
        if not self.recipients:
            return self._say("503 5.5.1 RCPT first")
        if self.plan.startswith("421"):
            self._record(self._to(), False, "421 shutting down", "", b"")
            self._say("421 4.3.2 shutting down")
            raise Quit
        self._say("354 end with a dot on a line of its own")
        raw, fault = self._read_message()
        self._decide(raw, fault)
        return self._forget()

    def _read_message(self):
        """The message without its dots, and what was wrong with its lines."""
        raw, size, fault = [], 0, None
        while True:
            line = self.rfile.readline(1 << 16)
            if not line:
                raise Quit
            if line == b".\r\n":
                return b"".join(raw), fault
            size += len(line)
            if len(line) > MAX_LINE:
                fault = f"500 5.5.2 line of {len(line)} bytes"
            elif not line.endswith(b"\r\n") or b"\r" in line[:-2]:
                fault = "554 5.6.0 bare CR or LF"
            elif size > MAX_SIZE:
                fault = "552 5.3.4 message too big"
            else:
                raw.append(line[1:] if line.startswith(b".") else line)

    def _decide(self, raw, fault):
        text = ""
        try:
            text = read_message(raw)
        except (ValueError, LookupError) as reason:
            fault = fault or f"554 5.6.0 {reason}"
        verb, _, argument = self.plan.partition(":")
        accepted = not fault and verb in ("ok", "lost", "slow")
        answer = fault or (verb if verb in ("lost", "close", "hang", "reset") else "250 accepted")
        self._record(self._to(), accepted, answer, text, raw)
        if verb == "slow":
            time.sleep(float(argument))
        if verb == "hang":
            select.select([self.connection], [], [], 600)
        if verb in ("hang", "lost", "close", "reset"):
            raise Quit
        self._say(fault.encode("ascii", "replace").decode() if fault else "250 2.0.0 accepted")

    def _to(self):
        return ",".join(self.recipients)

    def _record(self, to, accepted, answer, text, raw):
        self.server.journal.add("email", to, accepted, answer, text, raw)

    def _do_rset(self, _):
        self._forget()
        self._say("250 2.0.0 forgotten")

    def _do_noop(self, _):
        self._say("250 2.0.0 fine")

    def _do_quit(self, _):
        self._say("221 2.0.0 bye")
        raise Quit


def _base64(text):
    return base64.b64decode(text, validate=True).decode("utf-8")


def read_message(raw):
    """What a mail reader shows; ValueError says what it would choke on."""
    head = raw.partition(b"\r\n\r\n")[0]
    if not head.isascii():
        raise ValueError("headers must be ASCII (RFC 2047), SMTPUTF8 is not offered")
    message = email.message_from_bytes(raw, policy=email.policy.SMTP)
    for name in REQUIRED:
        if len(message.get_all(name, [])) != 1:
            raise ValueError(f"header {name} must be there once")
    for part in message.walk():
        if part.defects:
            raise ValueError(f"MIME: {part.defects[0].__class__.__name__}")
        if part.get_content_maintype() == "text":
            charset = part.get_content_charset("us-ascii")
            part.get_payload(decode=True).decode(charset)
    body = message.get_body(("plain", "html"))
    if body is None:
        raise ValueError("no text to read")
    lines = [f"{n}: {message[n]}" for n in ("From", "To", "Subject")]
    return "\n".join(lines + ["", body.get_content().replace("\r\n", "\n").rstrip()])


class SmtpFake(socketserver.ThreadingTCPServer):
    """Serves from its own threads between start() and stop(); port 0 picks a free one."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, port=0, journal=None, faults=None, tls=None, login=None):
        """tls: (certificate file, key file), offers STARTTLS; login: (user, password), demands AUTH."""
        super().__init__(("127.0.0.1", port), Session)
        self.journal = journal or Journal()
        self.faults = faults or Faults()
        self.login = login
        self.tls = None
        if tls:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(*tls)
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
    parser.add_argument("--log", help="append a JSON line per message to this file")
    parser.add_argument("--print", dest="show", action="store_true", help="show what arrived, for people")
    parser.add_argument("--control-port", type=int, help="serve the control endpoint there")
    parser.add_argument("--starttls", nargs=2, metavar=("CERT", "KEY"), help="offer STARTTLS")
    parser.add_argument("--login", nargs=2, metavar=("USER", "PASSWORD"), help="demand AUTH")
    args = parser.parse_args()
    journal, faults = Journal(args.log, args.show), Faults()
    running = [SmtpFake(args.port, journal, faults, args.starttls, args.login).start()]
    if args.control_port is not None:
        # Imported late: http_fake offers this server, too.
        import http_fake

        running.append(http_fake.HttpFake(args.control_port, journal, faults).start())
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    for server in running:
        server.stop()
    journal.close()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main()

"""Debian's Zabbix 6.0: its server and its API, on a database of their own in the stack's Postgres."""

import contextlib
import gzip
import json
import os
import re
import shutil
import socket
import struct
import subprocess
from urllib.parse import urlsplit

from senders import Client
from stack import PORT_BASE, wait

TRAPPER, API = PORT_BASE + 15, PORT_BASE + 16
SHARE, FRONTEND = "/usr/share/zabbix-server-pgsql", "/usr/share/zabbix"

# What a server needs of the data that Zabbix ships: not its templates.
TABLES = "config config_autoreg_tls graph_theme hstgrp role role_rule users users_groups usrgrp".split()

SERVER_CONF = """
AllowRoot=1
LogType=console
SocketDir={where}
ListenIP=127.0.0.1
ListenPort={port}
DBHost={host}
DBPort={dbport}
DBName={name}
DBUser={user}
DBPassword={password}
CacheUpdateFrequency=1
StartAlerters=1
StartDBSyncers=1
StartDiscoverers=0
StartHTTPPollers=0
StartHistoryPollers=1
StartLLDProcessors=1
StartODBCPollers=0
StartPingers=0
StartPollers=1
StartPollersUnreachable=1
StartPreprocessors=1
StartTrappers=1
"""
API_CONF = """<?php
$DB['TYPE'] = 'POSTGRESQL';
$DB['SERVER'] = '{host}';
$DB['PORT'] = '{dbport}';
$DB['DATABASE'] = '{name}';
$DB['USER'] = '{user}';
$DB['PASSWORD'] = '{password}';
$DB['SCHEMA'] = '';
$DB['DOUBLE_IEEE754'] = true;
$IMAGE_FORMAT_DEFAULT = IMAGE_FORMAT_PNG;
"""


def statements(file):
    """Of one of Zabbix's files; some go over several lines."""
    with gzip.open(f"{SHARE}/{file}", "rt") as lines:
        return re.split(r"(?<=;)\n(?=[A-Z])", lines.read())


class Zabbix:
    def __init__(self, database_url, where):
        self._admin_url, self._where = database_url, where
        parts = urlsplit(database_url)
        self._name = f"zabbix_{os.getpid()}"
        self._url = parts._replace(path=f"/{self._name}").geturl()
        self._fields = {"host": parts.hostname, "dbport": parts.port or 5432, "user": parts.username, "password": parts.password or ""}
        self._fields |= {"name": self._name, "where": where, "port": TRAPPER}
        self._running, self._token = [], None

    def __enter__(self):
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(self._stop)
            self._make_database()
            self._start_server()
            self._start_api()
            on_failure.pop_all()
        return self

    def __exit__(self, *_):
        self._stop()

    def _psql(self, url, *arguments, **more):
        subprocess.run(["psql", "-Xq", "-v", "ON_ERROR_STOP=1", *arguments, url], check=True, capture_output=True, text=True, **more)

    def _make_database(self):
        self._psql(self._admin_url, "-c", f"CREATE DATABASE {self._name} TEMPLATE template0 ENCODING 'UTF8'")
        wanted = re.compile(rf"INSERT INTO ({'|'.join(TABLES)}) ")
        data = [s for s in statements("data.sql.gz") if wanted.match(s)]
        schema = statements("schema.sql.gz")
        self._psql(self._url, "-1", input="\n".join(["SET synchronous_commit = off;", *schema, *data]))

    def _run(self, name, *command):
        with open(self._where / f"{name}.log", "wb") as log:
            self._running.append(subprocess.Popen(command, stdout=log, stderr=log))

    def _start_server(self):
        conf = self._where / "zabbix_server.conf"
        conf.write_text(SERVER_CONF.format(**self._fields))
        self._run("zabbix", "/usr/sbin/zabbix_server", "-f", "-c", conf)

    def _start_api(self):
        """A copy of the frontend, because the place of its configuration stands in its code."""
        copy, conf = self._where / "frontend", self._where / "zabbix.conf.php"
        conf.write_text(API_CONF.format(**self._fields))
        shutil.copytree(FRONTEND, copy, ignore=shutil.ignore_patterns("locale", "assets", "audio", "js"))
        place = copy / "include/classes/core/CConfigFile.php"
        place.write_text(re.sub(r"(CONFIG_FILE_PATH = )'.*?'", rf"\1'{conf}'", place.read_text()))
        self._run("api", "php", "-S", f"127.0.0.1:{API}", "-t", copy)
        login = lambda: self.ask("user.login", username="Admin", password="zabbix")
        self._token = wait("Zabbix's API", login)

    def _stop(self):
        for process in self._running:
            process.terminate()
        for process in self._running:
            process.wait()
        with contextlib.suppress(subprocess.CalledProcessError):
            self._psql(self._admin_url, "-c", f"DROP DATABASE {self._name} WITH (FORCE)")

    def ask(self, method, **params):
        return self.ask_with(method, params)

    def ask_with(self, method, params):
        question = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params, "auth": self._token}
        headers = {"Content-Type": "application/json-rpc"}
        answer = Client(f"http://127.0.0.1:{API}").post("/api_jsonrpc.php", question, headers)
        if "result" not in answer:
            raise RuntimeError(f"{method}: {answer}")
        return answer["result"]

    def import_media_type(self, file):
        """The export file, as a person imports it; the id of what it has."""
        self.ask_with(
            "configuration.import",
            {"format": "yaml", "source": file.read_text(), "rules": {"mediaTypes": {"createMissing": True, "updateExisting": True}}},
        )
        (found,) = self.ask("mediatype.get", output=["mediatypeid", "name"])
        return found["mediatypeid"]

    def tell_by(self, media_type, address):
        """Every problem, its updates and its end. A user of its own: nobody is told of what he did himself."""
        media = {"mediatypeid": media_type, "sendto": address, "active": 0, "severity": 63, "period": "1-7,00:00-24:00"}
        (group,) = self.ask("usergroup.get", filter={"name": "Zabbix administrators"}, output=["usrgrpid"])
        super_admin = {"roleid": "3", "usrgrps": [{"usrgrpid": group["usrgrpid"]}]}
        made = self.ask("user.create", username="tocsin", passwd="Only-for-this-test-1", medias=[media], **super_admin)
        message = {"opmessage": {"default_msg": 1, "mediatypeid": media_type}}
        to_user = {"operationtype": 0, "opmessage_usr": [{"userid": made["userids"][0]}], **message}
        self.ask(
            "action.create",
            name="tell",
            eventsource=0,
            filter={"evaltype": 0, "conditions": []},
            operations=[to_user],
            recovery_operations=[to_user],
            update_operations=[to_user],
        )

    def make_trigger(self, host, severity, **more):
        """A host with one item that is sent to it, and a trigger that fires while that is not 0. The item is enabled last: a server
        that takes its values has read the trigger, too."""
        (group,) = self.ask("hostgroup.create", name=f"group of {host}")["groupids"]
        (host_id,) = self.ask("host.create", host=host, groups=[{"groupid": group}])["hostids"]
        enabled, disabled = 0, 1
        (item_id,) = self.ask("item.create", hostid=host_id, name="trouble", key_="trouble", type=2, value_type=3, status=disabled)["itemids"]
        trigger = {"description": "Trouble {ITEM.LASTVALUE} at {HOST.NAME}", "expression": f"last(/{host}/trouble)<>0"}
        self.ask("trigger.create", **trigger, priority=severity, **more)
        self.ask("item.update", itemid=item_id, status=enabled)

    def send(self, host, value):
        """One value of the item, as zabbix_sender sends it; it is known after the server read its configuration."""

        def taken():
            data = json.dumps({"request": "sender data", "data": [{"host": host, "key": "trouble", "value": str(value)}]}).encode()
            with socket.create_connection(("127.0.0.1", TRAPPER), 10) as connection:
                connection.sendall(b"ZBXD\1" + struct.pack("<II", len(data), 0) + data)
                answer = b"".join(iter(lambda: connection.recv(65536), b""))
            return b"processed: 1;" in answer or answer

        wait(f"Zabbix to take {value}", lambda: taken() is True)

    def problem(self):
        """The id of the only problem."""
        problems = wait("the problem", lambda: self.ask("problem.get", output=["eventid"]))
        assert len(problems) == 1, problems
        return problems[0]["eventid"]

    def alerts(self):
        """What Zabbix says of each message that it sent."""
        return self.ask("alert.get", output=["status", "error", "retries"])

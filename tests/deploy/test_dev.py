"""deploy/dev with real Postgres, Redis and Kafka: what it starts, survives, and leaves alone."""

import json
import os
import pathlib
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pytest

TREE = pathlib.Path(__file__).resolve().parents[2]
SERVERS = ("postgres", "redis", "kafka")
PORT_BASE = 23000
OTHER_PORT_BASE = 23030


class Dev:
    def __init__(self, home, port_base):
        self.home, self.port_base = home, port_base
        mine = ("TOCSIN_", "KAFKA_BROKERS", "DATABASE_URL", "REDIS_URL")
        self.environ = {k: v for k, v in os.environ.items() if not k.startswith(mine)}
        self.environ |= {"TOCSIN_HOME": str(home), "TOCSIN_PORT_BASE": str(port_base)}

    def try_run(self, *args, **more):
        return subprocess.run(
            [TREE / "deploy/dev", *args], env=self.environ | more, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )

    def run(self, *args, **more):
        done = self.try_run(*args, **more)
        assert done.returncode == 0, f"{args}: {done.stdout}{done.stderr}"
        return done.stdout

    def status(self):
        return {one["name"]: one for one in map(json.loads, self.run("status", "--json").splitlines())}

    def pids(self):
        return {name: one["pid"] for name, one in self.status().items()}

    def env(self):
        return dict(word.split("=", 1) for word in shlex.split(self.run("env")))


@pytest.fixture(scope="module")
def dev(tmp_path_factory):
    # Root's temporary directory is closed to the user that the servers run as; deploy/dev finds its way.
    stack = Dev(tmp_path_factory.mktemp("home") / "var", PORT_BASE)
    try:
        stack.run("up", *SERVERS)
        yield stack
    finally:
        stack.run("reset")


@pytest.fixture
def other(tmp_path):
    stack = Dev(tmp_path / "other", OTHER_PORT_BASE)
    try:
        yield stack
    finally:
        stack.run("reset")


def is_alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def kill(pid):
    os.kill(pid, signal.SIGKILL)
    while is_alive(pid):
        time.sleep(0.01)


def test_servers_are_ready_and_unprivileged(dev):
    status = dev.status()
    assert [status[name]["port"] for name in SERVERS] == [PORT_BASE + 5, PORT_BASE + 6, PORT_BASE + 7]
    for name in SERVERS:
        assert status[name]["ready"]
        assert os.stat(f"/proc/{status[name]['pid']}").st_uid != 0


def test_env_is_for_the_shell(dev):
    env = dev.env()
    assert env["KAFKA_BROKERS"] == f"127.0.0.1:{PORT_BASE + 7}"
    url = ["psql", "-XAtc", "SELECT current_user", env["DATABASE_URL"]]
    assert subprocess.run(url, capture_output=True, text=True, check=True).stdout == "tocsin\n"


def test_a_second_up_changes_nothing(dev):
    before = dev.pids()
    dev.run("up", *SERVERS)
    # A shell that has evaluated `env` names our own servers, which are not somebody else's for that.
    dev.run("up", *SERVERS, **dev.env())
    assert dev.pids() == before


@pytest.mark.parametrize("name", SERVERS)
def test_restart_brings_back_what_was_killed(dev, name):
    before = dev.pids()
    kill(before[name])
    dead = dev.status()[name]
    assert (dead["pid"], dead["ready"]) == (None, False)
    dev.run("restart", name)
    after = dev.pids()
    assert dev.status()[name]["ready"] and after[name] != before[name]
    assert {n: pid for n, pid in after.items() if n != name} == {n: pid for n, pid in before.items() if n != name}


def test_up_brings_back_all_that_was_killed_and_what_they_kept(dev):
    sql(dev, "CREATE SCHEMA kept; CREATE TABLE kept.it AS SELECT 42 AS answer")
    for pid in dev.pids().values():
        kill(pid)
    dev.run("up", *SERVERS)
    assert all(one["ready"] for one in dev.status().values())
    assert sql(dev, "SELECT answer FROM kept.it") == "42"


def test_links_lead_where_the_configuration_says(dev, other, tmp_path):
    given = {name: dev.env()[name] for name in ("DATABASE_URL", "REDIS_URL", "KAFKA_BROKERS")}
    config = tmp_path / "tocsin.yml"

    def external_url(**more):
        other.run("up", "console", TOCSIN_CONFIG=str(config), **given, **more)
        environ = pathlib.Path(f"/proc/{other.pids()['console']}/environ").read_text().split("\0")
        return [one.partition("=")[2] for one in environ if one.startswith("TOCSIN__EXTERNAL_URL=")]

    config.write_text("external_url: https://tocsin.example.com\n")
    assert external_url() == []
    config.write_text("external_url: http://localhost:8000\n")
    assert external_url() == [f"http://localhost:{OTHER_PORT_BASE + 1}"]
    assert external_url(TOCSIN__EXTERNAL_URL="https://given.example.com") == ["https://given.example.com"]


def test_a_foreign_process_with_a_recycled_pid_is_left_alone(other):
    other.run("up", "redis")
    record = pathlib.Path(other.env()["TOCSIN_HOME"]) / "run/redis.pid"
    redis = other.pids()["redis"]
    bystander = subprocess.Popen(["sleep", "300"])
    try:
        words = record.read_text().split()
        record.write_text(" ".join([str(bystander.pid), *words[1:]]))
        assert other.pids()["redis"] is None
        other.run("down")
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()
        kill(redis)


def test_a_taken_port_is_refused_and_its_owner_named(other):
    with socket.create_server(("127.0.0.1", OTHER_PORT_BASE + 6)):
        done = other.try_run("up", "redis")
    assert done.returncode == 1
    assert f"port {OTHER_PORT_BASE + 6}" in done.stderr and f"process {os.getpid()}" in done.stderr


def test_a_half_made_data_directory_is_made_again(other):
    other.run("up", "redis")
    half = pathlib.Path(other.env()["TOCSIN_HOME"]) / "pg/data.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("15\n")
    other.run("up", "postgres")
    assert other.status()["postgres"]["ready"]


def test_each_embedded_broker_has_a_schema_of_its_own(other):
    up = ("up", "kafka", "--broker", "embedded")
    assert "nothing outlives it" in other.run(*up)
    first = other.env()["TOCSIN_SCHEMA"]
    other.run(*up)
    assert other.env()["TOCSIN_SCHEMA"] == first
    kill(other.pids()["kafka"])
    other.run(*up)
    assert other.status()["kafka"]["ready"]
    assert other.env()["TOCSIN_SCHEMA"] not in (first, "tocsin")


def test_servers_of_others_are_used_and_not_started(dev, other):
    given = {name: dev.env()[name] for name in ("DATABASE_URL", "REDIS_URL", "KAFKA_BROKERS")}
    other.run("up", *SERVERS, **given)
    assert other.status() == {}
    assert {name: other.env()[name] for name in given} == given
    other.run("down")
    assert all(one["ready"] for one in dev.status().values())


def test_down_leaves_nothing_and_up_comes_back(other):
    other.run("up", "postgres", "redis")
    pids = other.pids().values()
    other.run("down")
    assert not any(map(is_alive, pids))
    assert other.status() == {}
    other.run("up", "postgres")
    assert other.status()["postgres"]["ready"]


def test_a_directory_with_other_things_in_it_is_no_home(other):
    with tempfile.TemporaryDirectory() as home:
        os.chmod(home, 0o755)  # else root's would be elsewhere anyway
        pathlib.Path(home, "letter.txt").write_text("dear")
        assert "other files" in other.try_run("up", "redis", TOCSIN_HOME=home).stderr
        assert os.listdir(home) == ["letter.txt"]


def sql(dev, query, **more):
    return subprocess.run(
        ["psql", "-XAt", "-v", "ON_ERROR_STOP=1", "-c", query, dev.env()["DATABASE_URL"]],
        capture_output=True, text=True, check=True, **more,
    ).stdout.strip()


class Migrations:
    """A copy of deploy/migrate with migrations of the test's own."""

    def __init__(self, dev, home, schema):
        self.dev, self.home, self.schema = dev, home, schema
        shutil.copy(TREE / "deploy/migrate", home)
        shutil.copytree(TREE / "deploy/lib", home / "lib")
        (home / "migrations").mkdir()

    def write(self, name, text):
        (self.home / "migrations" / name).write_text(text)

    def start(self):
        return subprocess.Popen(
            [self.home / "migrate", self.schema],
            env=os.environ | {"DATABASE_URL": self.dev.env()["DATABASE_URL"]},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def run(self):
        migrate = self.start()
        return migrate.communicate()[0], migrate.returncode

    def applied(self):
        return sql(self.dev, f'SELECT string_agg(name, \' \' ORDER BY name) FROM "{self.schema}".schema_migrations')


@pytest.fixture
def migrations(dev, tmp_path, request):
    return Migrations(dev, tmp_path, f"Of {request.node.name[:40]}")


def test_two_migrations_at_once_apply_each_file_once(migrations):
    migrations.write("001_one.sql", "CREATE TABLE it (x int);")
    migrations.write("002_two.sql", "INSERT INTO it SELECT 1 FROM pg_sleep(0.3);")
    outputs = [one.communicate()[0] for one in [migrations.start() for _ in range(3)]]
    assert sorted(outputs) == ["", "", "applying 001_one\napplying 002_two\n"]
    assert sql(migrations.dev, f'SELECT count(*) FROM "{migrations.schema}".it') == "1"


def test_a_failed_migration_leaves_nothing_of_itself(migrations):
    migrations.write("001_one.sql", "CREATE TABLE it (x int);")
    migrations.write("002_two.sql", "INSERT INTO it VALUES (1);\nSELECT 1 / 0;")
    output, status = migrations.run()
    assert status != 0 and "002_two.sql:2" in output
    assert migrations.applied() == "001_one"
    assert sql(migrations.dev, f'SELECT count(*) FROM "{migrations.schema}".it') == "0"
    migrations.write("002_two.sql", "INSERT INTO it VALUES (1);")
    assert migrations.run()[1] == 0
    assert migrations.applied() == "001_one 002_two"


def test_a_migration_that_was_edited_is_refused(migrations):
    migrations.write("001_one.sql", "CREATE TABLE it (x int);")
    assert migrations.run()[1] == 0
    migrations.write("001_one.sql", "CREATE TABLE it (x bigint);")
    output, status = migrations.run()
    assert status != 0 and "001_one.sql is not what was applied" in output


def test_the_password_is_in_no_argument():
    script = 'source deploy/lib/pg-url.sh; hide_password "$1"; echo "$PG_URL $PGPASSWORD"'
    url = "postgresql://me:p%40ss%2Fw@db.example:5433/tocsin?sslmode=require"
    done = subprocess.run(["bash", "-c", script, "bash", url], cwd=TREE, capture_output=True, text=True, check=True)
    assert done.stdout == "postgresql://me@db.example:5433/tocsin?sslmode=require p@ss/w\n"

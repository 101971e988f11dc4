"""tocsin-mock-broker: the port that was asked for, one line when it can be reached, an end on SIGTERM."""

import json
import signal
import socket
import subprocess
import sys


def start(*arguments, **streams):
    return subprocess.Popen([sys.argv[1], *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **streams)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def end(process, sign):
    process.send_signal(sign)
    process.communicate(timeout=20)
    assert process.returncode == 0, process.returncode


port = free_port()
broker = start("--port", str(port), "--partitions", "3", "a.topic")
try:
    assert json.loads(broker.stdout.readline()) == {"brokers": f"127.0.0.1:{port}"}
    socket.create_connection(("127.0.0.1", port)).close()

    second = start("--port", str(port))
    _, why = second.communicate(timeout=20)
    assert second.returncode == 1 and str(port) in why, (second.returncode, why)
finally:
    end(broker, signal.SIGTERM)

# The same port again at once, and any port.
again = start("--port", str(port))
assert json.loads(again.stdout.readline()) == {"brokers": f"127.0.0.1:{port}"}
end(again, signal.SIGINT)
anywhere = start()
assert json.loads(anywhere.stdout.readline())["brokers"].startswith("127.0.0.1:")
end(anywhere, signal.SIGTERM)

# Orders, each with an answer. A client that is in want of Metadata hits its fault: the broker's own, for `ends`.
told = start("--partitions", "2", "--control", "a.topic", stdin=subprocess.PIPE)
told.stdout.readline()


def tell(line):
    told.stdin.write(line + "\n")
    told.stdin.flush()
    return json.loads(told.stdout.readline())


assert tell("fault Produce 2 NOT_LEADER_FOR_PARTITION") == {"left": 2, "seen": 0}
assert tell("fault Produce 1 late 5000") == tell("left Produce") == {"left": 3, "seen": 0}
assert tell("left Fetch") == {"left": 0, "seen": 0}
assert tell("fault Metadata 1 closed") == {"left": 1, "seen": 0}
assert tell("ends") == {"a.topic": [0, 0]}
assert tell("left Metadata")["left"] == 0 and tell("left Metadata")["seen"] > 1
for nonsense in ("", "fault", "fault Nothing 1 closed", "fault Fetch 0 closed", "fault Fetch 1", "fault Fetch 1 late", "left X"):
    assert list(tell(nonsense)) == ["error"], nonsense
end(told, signal.SIGTERM)

for wrong in (["--port"], ["--control", "--port"], ["--port", "x"], ["--port", "70000"], ["--partitions", "0"], ["--nonsense", "1"]):
    refused = start(*wrong)
    refused.communicate(timeout=20)
    assert refused.returncode == 2, wrong
print("ok")

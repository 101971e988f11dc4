"""Does to the world what the plan says, and keeps alive what nobody broke on purpose."""

import os
import signal
import threading
import time

import plan

LOCK_WAIT_S = 30  # for who is still being mended from the fault before
KAFKA_WAIT_S = 90  # a broker that is killed again before it serves would be away for the whole of a short run
RETURN_S = 3  # for who comes back; the supervisor sees to the rest, and others may be away that it waits for
CUT_SQL = """
DO $$
DECLARE victim int;
BEGIN
    FOR n IN 1..{tries} LOOP
        PERFORM pg_stat_clear_snapshot();
        SELECT pid INTO victim FROM pg_stat_activity
         WHERE pid <> pg_backend_pid() AND usename = current_user AND application_name <> 'chaos'
           AND xact_start IS NOT NULL AND state IN ('active', 'idle in transaction')
         ORDER BY state DESC, random() LIMIT 1;
        IF victim IS NOT NULL AND pg_terminate_backend(victim) THEN
            RAISE EXCEPTION 'cut %', victim;
        END IF;
        PERFORM pg_sleep(0.005);
    END LOOP;
END $$
"""


class Injector:
    """`kills` counts SIGKILLs that hit a living process; `say` prints a line with the time."""

    def __init__(self, world, sink, say):
        self.world, self.sink, self.say = world, sink, say
        self.kills = self.cuts = 0
        self.skipped, self.crashes = [], []
        self.kafka_away, self.spool_full = [], []  # (from, to), in seconds since the begin
        self._count = threading.Lock()
        self._over = threading.Event()
        self._begin = time.monotonic()

    def now(self):
        return time.monotonic() - self._begin

    def run(self, faults):
        """Until the last one is over."""
        self._begin = time.monotonic()
        supervisor = threading.Thread(target=self._supervise, daemon=True)
        supervisor.start()
        threads = []
        for fault in faults:
            time.sleep(max(0, fault.at - self.now()))
            threads.append(threading.Thread(target=self._strike, args=(fault,), daemon=True))
            threads[-1].start()
        for thread in threads:
            thread.join()
        self._over.set()
        supervisor.join()

    def _strike(self, fault):
        try:
            done = getattr(self, "_" + fault.kind)(fault)
        except Exception as reason:  # one fault less is no end of the run
            done = f"failed: {reason!r}"
        if done:
            self.skipped.append(f"{fault}: {done}")
        self.say(f"{fault}{' — ' + done if done else ''}")

    def _supervise(self):
        """What ends without us is started again; a signal that was not ours is a crash."""
        while not self._over.wait(0.5):
            for process in self.world.processes.values():
                if process.wanted and not process.is_alive() and process.lock.acquire(blocking=False):
                    try:
                        self._revive(process)
                    finally:
                        process.lock.release()

    def _revive(self, process):
        if process.is_alive() or not process.wanted:
            return
        cause = process.died_of()
        if cause:
            self.crashes.append(f"{process.name}: {cause}")
        self.say(f"{process.name} ended by itself{' of ' + cause if cause else ''}: {self.world.log_tail(process.name, 1)[:200]}")
        process.start()

    # Faults, by their kind. What is returned is why it could not be done.

    def _held(self, name):
        return _Held(self.world.processes[name])

    def _end(self, process, number):
        hit = process.signal(number)
        if hit and number == signal.SIGKILL:
            with self._count:
                self.kills += 1
        process.wanted = False
        process.signal(signal.SIGCONT)
        if not process.wait_dead(40):
            process.signal(signal.SIGKILL)
            process.wait_dead(10)
        return hit

    def _end_and_return(self, fault, number):
        with self._held(fault.target) as process:
            if not process:
                return "busy"
            begin = self.now()
            hit = self._end(process, number)
            time.sleep(fault.lasts)
            process.bring_back(RETURN_S)
            if fault.target == "kafka":
                self.kafka_away.append((begin, self.now() + plan.HEAL_S["kafka"]))
            return None if hit else "was dead"

    def _kill(self, fault):
        return self._end_and_return(fault, signal.SIGKILL)

    def _stop(self, fault):
        # Postgres takes SIGTERM as "when everybody has left".
        return self._end_and_return(fault, signal.SIGINT if fault.target == "postgres" else signal.SIGTERM)

    def _outage(self, fault):
        return self._end_and_return(fault, signal.SIGINT)

    def _freeze(self, fault):
        with self._held(fault.target) as process:
            if not process:
                return "busy"
            begin = self.now()
            self._freeze_for(process, fault.lasts)
            self.kafka_away.append((begin, self.now() + plan.HEAL_S["kafka"]))
        return None

    def _zombie(self, fault):
        with self._held(fault.target) as process:
            if not process:
                return "busy"
            return None if self._freeze_for(process, fault.lasts) else "was dead"

    def _freeze_for(self, process, seconds):
        hit = process.signal(signal.SIGSTOP)
        time.sleep(seconds)
        process.signal(signal.SIGCONT)
        return hit

    def _join(self, fault):
        """A third processor comes, takes partitions, and leaves again."""
        with self._held(fault.target) as process:
            if not process:
                return "busy"
            process.start()
            time.sleep(fault.lasts)
            return None if self._end(process, getattr(signal, "SIG" + fault.detail[0])) else "was dead"

    def _flush(self, _):
        return None if self.world.redis("FLUSHALL") else "Redis did not answer"

    def _cut(self, fault):
        """pg_terminate_backend() of a connection in the middle of a transaction."""
        try:
            self.world.sql(CUT_SQL.format(tries=int(fault.lasts * 200)))
        except RuntimeError as reason:
            if "cut " not in str(reason):
                return "Postgres did not answer"
            self.cuts += 1
            return None
        return "no transaction was open"

    def _answer(self, fault):
        channel, *answers = fault.detail
        self.sink.faults.push(channel, "*", answers)

    def _full(self, fault):
        """Kafka away, and then no room in the spool: on its tmpfs, or within the bound that was set without one."""
        with self._held("kafka") as kafka:
            if not kafka:
                return "busy"
            begin = self.now()
            kafka.signal(signal.SIGSTOP)
            filler = self.world.home / "spool" / ".filler"
            try:
                if self.world.spool_is_mounted:
                    _fill(filler)
                time.sleep(fault.lasts)
            finally:
                filler.unlink(missing_ok=True)
                kafka.signal(signal.SIGCONT)
                self.kafka_away.append((begin, self.now() + plan.HEAL_S["kafka"]))
                self.spool_full.append((begin, self.now() + 2))
        return None

    def _away(self, fault):
        names = [n for n in self.world.processes if n not in plan.SERVERS]
        held = [self._held(n) for n in names]
        processes = [h.__enter__() for h in held]
        try:
            wanted = [p for p in processes if p and p.wanted]
            for process in wanted:
                self._end(process, signal.SIGKILL)
            time.sleep(fault.lasts)
            for process in wanted:
                process.start()
            return None
        finally:
            for one in held:
                one.__exit__()

    def mend_all(self, without=()):
        """After the last fault: no bad answers, and everything runs. What does not is returned."""
        self.sink.faults.clear()
        missing = []
        for process in sorted(self.world.processes.values(), key=lambda p: p.name not in plan.SERVERS):
            if process.name in (*without, "processor-3"):
                continue
            process.signal(signal.SIGCONT)
            if not process.bring_back():
                missing.append(process.name)
        return missing


class _Held:
    """Nobody else breaks or mends the process; None when somebody does for too long."""

    def __init__(self, process):
        self.process = process

    def __enter__(self):
        self.mine = self.process.lock.acquire(timeout=LOCK_WAIT_S)
        if self.mine and self.process.name == "kafka":
            self.process.bring_back(KAFKA_WAIT_S)
        return self.process if self.mine else None

    def __exit__(self, *_):
        if self.mine:
            self.process.lock.release()


def _fill(path):
    """Take all room of the file system."""
    block = b"\0" * (1 << 20)
    with open(path, "wb", buffering=0) as file:
        try:
            while True:
                file.write(block)
                if file.tell() > 1 << 30:
                    raise RuntimeError(f"{path.parent} does not get full")
        except OSError:
            os.fsync(file.fileno())

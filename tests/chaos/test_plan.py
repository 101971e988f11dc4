import collections
import dataclasses
import json
import time

import cases
import plan
import pytest
import senders
from faults import Faults


def kinds(faults):
    return collections.Counter(f.kind for f in faults)


@pytest.mark.parametrize("minutes", [1, 10])
def test_same_seed_same_plan(minutes):
    assert plan.make(7, minutes) == plan.make(7, minutes)
    assert plan.make(7, minutes) != plan.make(8, minutes)


@pytest.mark.parametrize("seed", range(1, 9))
def test_a_long_run_has_every_fault_and_enough_kills(seed):
    faults = plan.make(seed, 10)
    found = kinds(faults)
    assert set(found) == {"kill", "stop", "freeze", "outage", "full", "zombie", "flush", "cut", "join", "answer", "away"}
    assert found["kill"] >= 75
    assert {f.target for f in faults if f.kind == "kill"} >= {*plan.OURS, *plan.SERVERS}
    assert {f.detail for f in faults if f.kind == "answer"} == {(c, *a) for c, a in plan.ENDPOINTS}
    (freeze,) = (f for f in faults if f.kind == "freeze")
    (outage,) = (f for f in faults if f.kind == "outage")
    assert (freeze.target, freeze.lasts, outage.target, outage.lasts) == ("kafka", 60, "postgres", 60)


@pytest.mark.parametrize("seed", range(1, 9))
def test_a_short_run_has_every_fault_but_away(seed):
    found = kinds(plan.make(seed, 1))
    assert not found["away"] and len(found) == 10 and found["kill"] >= 7


@pytest.mark.parametrize("seed", range(1, 9))
def test_no_target_is_hit_while_it_is_broken(seed):
    faults = plan.make(seed, 10)
    for target in (*plan.OURS, *plan.SERVERS):
        mine = [f for f in faults if f.target == target or (target == "kafka" and f.kind == "full")]
        for before, after in zip(mine, mine[1:]):
            assert before.at + before.lasts < after.at, (str(before), str(after))


def test_the_fakes_can_give_every_answer():
    for channel, answers in plan.ENDPOINTS:
        fake = Faults()
        fake.push(channel, "*", answers)
        given = [fake.take(channel, "x") for _ in range(20)]
        assert given[0] != "ok" and given[-1] == "ok" and not any("*" in g for g in given)


def test_nothing_comes_while_all_are_away():
    faults = plan.make(3, 10)
    (away,) = (f for f in faults if f.kind == "away")
    assert away.lasts == plan.AWAY_S > cases.PROMISE_S
    assert not [f for f in faults if f != away and f.kind != "answer" and away.at < f.at < away.at + away.lasts]
    assert max(f.at for f in faults) < plan.seconds(10)


def test_without_redis_nothing_touches_it():
    faults = plan.make(1, 10, ["redis"])
    assert faults and not [f for f in faults if f.target == "redis"]


def test_same_seed_same_cases():
    first, second = (list(map(dataclasses.asdict, cases.make(5, "r", 60, 8))) for _ in range(2))
    assert first == second and len(first) == 480
    assert first != list(map(dataclasses.asdict, cases.make(6, "r", 60, 8)))


def test_every_alert_has_an_id_of_its_own():
    keys = [a.key for c in cases.make(5, "r", 600, 8) for a in c.alerts]
    assert len(keys) == len(set(keys)) > 4800


def test_cases_come_from_every_source_and_hit_some_anomalies_most():
    made = cases.make(5, "r", 600, 8)
    assert {c.kind for c in made} == set(cases.KINDS)
    services = collections.Counter(a.service for c in made for a in c.alerts)
    assert len(services) > 300
    assert sum(n for _, n in services.most_common(cases.HOT)) > sum(services.values()) / 2


def test_a_late_post_of_prometheus_is_no_end(monkeypatch):
    case = next(c for c in cases.make(5, "r", 60, 8) if c.kind == "prometheus")
    post = cases.Post(case, "fire")
    later = time.time() + 2 * cases.PROMISE_S
    monkeypatch.setattr(time, "time", lambda: later)
    for alert in json.loads(post.request()[1]):
        assert alert["endsAt"] > senders.rfc3339(later)


@pytest.mark.parametrize("kind", cases.KINDS)
def test_a_post_says_what_it_begins(kind):
    case = next(c for c in cases.make(5, "r", 60, 8) if c.kind == kind)
    fire = cases.Post(case, "fire")
    assert len(fire.occurrences) == len(case.alerts) and fire.request()[1]
    over = cases.Post(case, "resolve")
    assert over.occurrences == []
    again = cases.Post(case, "fire")
    assert not set(i for _, i in again.occurrences) & set(i for _, i in fire.occurrences)

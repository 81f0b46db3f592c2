"""How much may be asked for: the arithmetic, the doors, and several processes at once."""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from unittest.mock import DEFAULT, Mock

import pytest
import requests
from django.db import OperationalError, connection

from endpoints import rates
from endpoints.errors import Limited, Unavailable
from endpoints.models import Endpoint, Spending
from endpoints.models import spending as spending_module
from endpoints.models.spending import COUNTED, Policy
from endpoints.rates import HANDSHAKE, WRONG_KEY, Allowance, Rates, TooMany
from routing.models import Event
from tests.together import together
from tests.web import closed, running

POLICY = Policy("key", 100, 40)  # a slot is a second


@pytest.fixture
def clock(monkeypatch):
    """A clock of the database and of this process, which passes when it is told to."""

    class Clock:
        now = 1_000_000.0

        def passes(self, seconds):
            self.now += seconds

    found = Clock()
    monkeypatch.setattr(rates.time, "monotonic", lambda: found.now)
    monkeypatch.setattr(
        spending_module, "_Clock", lambda: spending_module.models.Value(found.now, spending_module.models.FloatField())
    )
    return found


@pytest.fixture
def processes(db, clock):
    """Two processes' allowances of one subject."""
    return [Allowance(POLICY, "key x") for _ in range(2)]


def spends(allowance, units=1):
    """Tell whether it may."""
    try:
        if not allowance.spend_at_once(units):
            allowance.spend(units)
    except TooMany:
        return False
    return True


def spent(allowances, times):
    return sum(spends(allowances[number % len(allowances)]) for number in range(times))


def test_no_more_than_the_limit_is_spent_and_all_of_it_is(processes):
    assert spent(processes, 300) == 100


@pytest.mark.parametrize("often_s", [0.25, 1, 7])
def test_no_period_has_more_than_the_limit_whenever_it_begins(processes, clock, often_s):
    times = []
    for number in range(int(200 / often_s)):
        times += [clock.now] * spent(processes, 20 if number % 3 else 120)
        clock.passes(often_s)
    assert max(sum(begin <= time < begin + POLICY.seconds for time in times) for begin in times) <= POLICY.units
    assert len(times) > 0.8 * POLICY.units * 200 / POLICY.seconds


def test_what_a_process_took_and_did_not_spend_comes_back(db, clock):
    policy = Policy("key", 10_000, 40)
    first, second = (Allowance(policy, "key x") for _ in range(2))
    for _ in range(30):
        assert all(spends(first) for _ in range(100))  # for which it takes 127
        clock.passes(policy.slot_s)
    held_now = 27
    assert sum(spends(second, 10) for _ in range(1_000)) >= (10_000 - 30 * 100 - held_now) // 10


def test_a_process_that_is_quick_seldom_asks(db, clock, monkeypatch):
    asked = []
    take = Spending.take
    monkeypatch.setattr(Spending, "take", lambda *args: asked.append(1) or take(*args))
    allowance = Allowance(Policy("key", 100_000, 40), "key x")

    assert all(spends(allowance) for _ in range(20_000))
    assert len(asked) < 35


def test_a_process_whose_pace_is_steady_asks_once_a_slot(db, clock, monkeypatch):
    policy, asked = Policy("key", 100_000, 40), []
    take = Spending.take
    monkeypatch.setattr(Spending, "take", lambda *what: asked.append(clock.now) or take(*what))
    allowance = Allowance(policy, "key x")
    for _ in range(5):
        clock.passes(1)
        assert spent([allowance], 500) == 500
    begins, *later = (asked.count(slot) for slot in dict.fromkeys(asked))
    assert begins > 1, "It grows into its pace."
    assert later == [1, 1, 1, 1]


def test_who_was_refused_is_refused_without_asking_until_there_is_room(processes, clock, monkeypatch):
    first, _ = processes
    assert spends(first, 100)
    with pytest.raises(TooMany) as refusal:
        first.spend(1)
    monkeypatch.setattr(Spending, "take", lambda *_: pytest.fail("It asked."))
    clock.passes(refusal.value.retry_after_s - 2)
    assert not spends(first)
    monkeypatch.undo()


def test_after_the_time_that_it_is_told_it_may(processes, clock):
    first, second = processes
    assert spends(first, 60)
    clock.passes(10)
    assert spends(second, 40)
    with pytest.raises(TooMany) as refusal:
        first.spend(50)
    assert refusal.value.retry_after_s == COUNTED - 10
    clock.passes(refusal.value.retry_after_s)
    assert spends(first, 50)


def test_a_smaller_wish_may_be_granted_where_a_larger_one_was_not(processes):
    first, _ = processes
    assert [spends(first, 90), spends(first, 20), spends(first, 5)] == [True, False, True]


def test_more_than_the_limit_at_once_is_never_granted(processes, clock):
    with pytest.raises(TooMany) as refusal:
        processes[0].spend(101)
    assert refusal.value.retry_after_s == POLICY.seconds


@pytest.mark.parametrize("step_s", [-5, -30, 5])
def test_a_clock_that_steps_frees_nothing(processes, clock, step_s):
    assert spent(processes, 300) == 100
    for process in processes:
        process._refused_until = 0  # what it remembers by its own clock
    clock.passes(step_s)
    assert spent(processes, 300) == 0


def test_a_clock_that_was_far_ahead_does_not_close_the_door_for_as_long(processes, clock):
    clock.passes(86_400)
    assert spent(processes, 300) == 100
    clock.passes(-86_400)
    again = Allowance(POLICY, "key x")
    assert spends(again)


def test_of_several_limits_all_are_charged_or_none(db, clock, settings):
    settings.RATE_PER_KEY, settings.RATE_PER_WORKSPACE = (100, 40), (10, 40)
    known = Rates()
    mine = known.of_key("key", "workspace")
    known.charge(mine, 10)
    for charge in (known.charge, known.charge_at_once):
        with pytest.raises(TooMany, match="This workspace may ask for 10 units in 40 s"):
            charge(mine, 1)
    assert mine[0].left == 90


def test_nothing_may_always_be_spent(db, clock, settings):
    settings.RATE_PER_KEY, settings.RATE_PER_WORKSPACE = (100, 40), None
    known = Rates()
    mine = known.of_key("key", "workspace")
    known.charge(mine, 1)
    clock.passes(3)
    for charge in (known.charge, known.charge_at_once, known.charge_afterwards):
        charge(mine, 0)
    assert spent(mine, 300) == 99


@pytest.mark.parametrize("problem", [OperationalError, Limited("The operation took too long.")])
def test_what_one_limit_was_charged_comes_back_where_another_can_not_be_asked(
    db, clock, settings, monkeypatch, problem
):
    settings.RATE_PER_KEY, settings.RATE_PER_WORKSPACE = (100, 40), (100, 40)
    known = Rates()
    mine = known.of_key("key", "workspace")
    known.charge(mine[:1], 10)

    def fail(*_):
        raise problem

    monkeypatch.setattr(mine[1], "spend", fail)
    with pytest.raises(Unavailable if problem is OperationalError else Limited):
        known.charge(mine, 1)
    assert mine[0].left == 90


def test_addresses_of_one_ipv6_network_are_one(settings):
    settings.RATE_PER_ADDRESS = (10, 40)
    known = Rates()
    assert known.of_address("2001:db8::1") == known.of_address("2001:db8::ffff:1")
    assert known.of_address("2001:db8:0:1::1") != known.of_address("2001:db8::1")
    assert known.of_address("192.0.2.1") != known.of_address("192.0.2.2")


def test_without_a_limit_nothing_is_charged(settings):
    known = Rates()
    assert known.of_address("192.0.2.1") + known.of_key("key", "workspace") == []
    assert known.charge_at_once([], 1_000_000)


def test_without_a_database_the_door_says_so(db, settings, monkeypatch):
    settings.RATE_PER_ADDRESS = (10, 40)

    def unreachable(*_):
        raise OperationalError

    monkeypatch.setattr(Spending, "take", unreachable)
    known = Rates()
    with pytest.raises(Unavailable):
        known.charge(known.of_address("192.0.2.1"), 1)


def test_what_counts_no_more_is_forgotten(db):
    Spending.take("key old", POLICY, 1, 1)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE endpoints_spending SET changed_at = now() - interval '81 seconds'")
    Spending.take("key new", POLICY, 1, 1)
    Spending.forget(80)
    assert [row.subject for row in Spending.objects.all()] == ["key new"]


def test_what_is_forgotten_just_then_is_begun_anew(db, monkeypatch):
    lost_once = Mock(side_effect=[None, DEFAULT], wraps=Spending.objects.bulk_create)
    monkeypatch.setattr(Spending.objects, "bulk_create", lost_once)
    assert Spending.take("key new", POLICY, 1, 1).units == 1


def test_it_is_forgotten_every_now_and_then(db, settings, monkeypatch):
    """Not before the longest limit has, whoever is asked for."""
    settings.RATE_PER_ADDRESS, settings.RATE_PER_WORKSPACE, settings.RATE_PER_KEY = (10_000, 40), None, (10_000, 3_600)
    forgotten = []
    monkeypatch.setattr(Spending, "forget", forgotten.append)
    known = Rates()
    for _ in range(2_000):
        known.charge(known.of_address("192.0.2.1"), 1)
        known.charge([], 1)
    assert set(forgotten) == {7_200}


@pytest.mark.django_db(transaction=True)
def test_many_at_once_never_take_more_than_there_is():
    policy = Policy("key", 500, 600)

    def work():
        allowance = Allowance(policy, "key x")
        return sum(spends(allowance) for _ in range(200))

    assert sum(together(*[work] * 4)) == 500


# --- the doors, of two processes

EVENTS, GRAPHQL = "/event-service/events", "/event-service/graphql"


def post(web, key, path=EVENTS, body=None):
    body = {"type": "a"} if body is None else body
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return requests.post(f"http://127.0.0.1:{web.port}{path}", json=body, headers=headers, timeout=20)


@pytest.fixture
def two():
    """Two processes that have a limit in common."""
    with ExitStack() as stack:
        yield lambda **limits: [stack.enter_context(running(**limits)) for _ in range(2)]


def limited(answer):
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["Retry-After"]) <= 630
    return answer.headers["RateLimit-Policy"], answer.headers["RateLimit"].partition(";t=")[0]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("limit", ["KEY", "WORKSPACE", "ADDRESS"])
def test_two_processes_let_through_what_one_limit_allows(two, key, limit):
    """The event door, where a request counts for its key as many units as it has events."""
    webs = two(**{f"EVENT_SERVICE_RATE_PER_{limit}": "300/600"})

    def work(web):
        return [post(web, key) for _ in range(120)]

    with ThreadPoolExecutor() as pool:
        answers = [answer for found in pool.map(work, webs * 2) for answer in found]
    accepted = [answer for answer in answers if answer.status_code == 202]
    assert 0.95 * 300 <= len(accepted) <= 1.05 * 300
    assert Event.objects.count() == len(accepted)
    name = limit.lower()
    refused = {limited(answer) for answer in answers if answer.status_code != 202}
    assert refused == {(f'"{name}";q=300;w=600', f'"{name}";r=0')}


@pytest.mark.django_db(transaction=True)
def test_events_of_a_request_are_counted_each_and_what_is_left_is_told(two, key):
    here, there = two(EVENT_SERVICE_RATE_PER_KEY="100/600")
    first = post(here, key, body=[{"type": "a"}] * 60)
    assert (first.status_code, first.headers["RateLimit"]) == (202, '"key";r=40;t=600')
    assert limited(post(there, key, body=[{"type": "a"}] * 60)) == ('"key";q=100;w=600', '"key";r=0')
    assert post(there, key, body=[{"type": "a"}] * 40).status_code == 202
    assert Event.objects.count() == 100


@pytest.mark.django_db(transaction=True)
def test_operations_inside_one_request_are_counted_each_and_so_are_the_rows_they_brought(two, key):
    here, there = two(EVENT_SERVICE_RATE_PER_KEY="40/600")
    aliases = " ".join(f"a{i}: workspace {{ id }}" for i in range(15))
    query = f"{{ ... {{ ...A }} }} fragment A on Query {{ {aliases} }}"
    first = post(here, key, GRAPHQL, {"query": query})
    assert (first.status_code, first.headers["RateLimit"]) == (200, '"key";r=10;t=600')  # 15 fields, and 15 rows
    answer = post(there, key, GRAPHQL, {"query": query})
    assert limited(answer) == ('"key";q=40;w=600', '"key";r=0')
    assert [error["extensions"]["code"] for error in answer.json()["errors"]] == ["LIMITED"]


@pytest.mark.django_db(transaction=True)
def test_who_was_brought_more_than_was_left_is_refused_the_next_time(two, workspace, key):
    here, there = two(EVENT_SERVICE_RATE_PER_KEY="60/600")
    for _ in range(40):
        Endpoint.create_web_socket(workspace_id=workspace.pk, name="n")
    body = {"query": "{ endpoints { collectionItems { id } } }"}
    statuses = [post(web, key, GRAPHQL, body).status_code for web in (here, there, here, there)]
    assert statuses == [200, 200, 429, 429]


@pytest.mark.django_db(transaction=True)
def test_events_published_by_graphql_are_counted_each(two, key):
    here, _ = two(EVENT_SERVICE_RATE_PER_KEY="100/600")
    query = "mutation($e: [EventInput!]!) { publishEvents(events: $e) { events { id } } }"
    body = {"query": query, "variables": {"e": [{"type": "a"}] * 80}}
    assert "errors" not in post(here, key, GRAPHQL, body).json()
    assert post(here, key, GRAPHQL, body).json()["errors"][0]["extensions"]["code"] == "LIMITED"
    assert Event.objects.count() == 80


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", [EVENTS, GRAPHQL])
def test_wrong_keys_soon_cost_an_address_its_turn_whatever_it_says_of_itself(two, key, path):
    here, there = two(EVENT_SERVICE_RATE_PER_ADDRESS=f"{10 * WRONG_KEY + 50}/600")

    def guess(number):
        web = (here, there)[number % 2]
        headers = {"Authorization": f"Bearer evs_{number}", "X-Forwarded-For": f"192.0.2.{number}"}
        body = {"query": "{ workspace { id } }"}
        return requests.post(f"http://127.0.0.1:{web.port}{path}", json=body, headers=headers, timeout=20).status_code

    statuses = [guess(number) for number in range(200)]
    assert statuses.count(429) >= 200 - 60
    assert post(here, key).status_code == 429  # the address itself is what is limited


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", ["/admin/login/", "/event-service/live", "/event-service/live/ticket"])
def test_operators_pages_cost_their_address_like_any_other_door(two, path):
    here, there = two(EVENT_SERVICE_RATE_PER_ADDRESS="20/600")
    answers = [
        requests.get(f"http://127.0.0.1:{web.port}{path}", timeout=20, allow_redirects=False)
        for web in (here, there) * 15
    ]
    assert [answer.status_code for answer in answers].count(429) == 10
    assert limited(answers[-1])[1].endswith("r=0")


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("sockets_left")
def test_handshakes_of_websockets_are_counted(two, key, web_socket):
    here, there = two(EVENT_SERVICE_RATE_PER_KEY=f"{5 * HANDSHAKE}/600")
    for number in range(5):
        with (here, there)[number % 2].v1(web_socket, key) as websocket:
            assert json.loads(websocket.recv(timeout=20))["kind"] == "ready"
    with here.v1(web_socket, key) as websocket:
        code, reason = closed(websocket)
    assert (code, reason[:44]) == (1013, "This key may ask for 50 units in 600 s, and ")


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("sockets_left")
def test_wrong_tickets_are_counted_like_wrong_keys(two, web_socket):
    here, _ = two(EVENT_SERVICE_RATE_PER_ADDRESS=f"{3 * (WRONG_KEY + HANDSHAKE)}/600")
    codes = []
    for number in range(6):
        with here.listen(web_socket, asking={"access": f"evt_{number}"}) as websocket:
            codes.append(closed(websocket)[0])
    assert codes[:3] == [1008] * 3
    assert codes[3:] == [1013] * 3


@pytest.mark.django_db(transaction=True)
def test_what_was_spent_is_known_to_the_next_process(key):
    limit = {"EVENT_SERVICE_RATE_PER_KEY": "10/600"}
    with running(**limit) as web:
        assert post(web, key, body=[{"type": "a"}] * 10).status_code == 202
    with running(**limit) as web:
        assert post(web, key).status_code == 429

"""Other workspaces are as good as absent: every operation, with every id that it takes, made from the schema."""

import asyncio
import json

import pytest
from django.db import connection

from endpoints.schema.access import Caller
from event_service.execution import Call, Invalid, checked, formatted
from tests.operations import FIELDS, document, id_places
from tests.workspaces import fill

ABSENT = "00000000-0000-4000-8000-000000000000"
PLACES = [(name, place) for name, (kind, _) in FIELDS.items() if kind != "subscription" for place in id_places(name)]
LISTS = [name for name, (kind, field) in FIELDS.items() if kind == "query" and "pagination" in field.args]
SUBSCRIPTIONS = [name for name, (kind, _) in FIELDS.items() if kind == "subscription"]


def named(case):
    return ".".join(case) if isinstance(case, tuple) else case


@pytest.fixture
def ours(workspace):
    return fill(workspace)


@pytest.fixture
def theirs(foreign_workspace):
    return fill(foreign_workspace)


@pytest.fixture
def ask(client):
    def ask(query, key):
        headers = {"Authorization": f"Bearer {key}"}
        return client.post("/event-service/graphql", {"query": query}, "application/json", headers=headers).content

    return ask


def rows_of(workspace):
    """All that is stored of a workspace, but for when its keys were used."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name FROM information_schema.columns WHERE column_name = 'workspace_id' ORDER BY 1"
        )
        tables = [table for (table,) in cursor.fetchall()]
        found = []
        for table in tables:
            cursor.execute(
                f"SELECT to_jsonb(stored) - 'last_used_at' FROM {table} AS stored WHERE workspace_id = %s ORDER BY id",
                [workspace.pk],
            )
            found += [json.loads(row) for (row,) in cursor.fetchall()]
    return found


@pytest.mark.parametrize(("name", "place"), PLACES, ids=named)
def test_an_id_of_another_workspace_answers_byte_for_byte_as_one_that_does_not_exist(
    ask, ours, theirs, foreign_workspace, monkeypatch, name, place
):
    """Without the filter of the tenancy door the database alone sees to it."""

    def answers(id_, whose):
        return ask(document(name, {place: id_}, whose.own()), whose.key)

    def ask_for_theirs():
        absent = answers(ABSENT, ours)
        for id_ in theirs.ids():
            assert answers(id_, ours).replace(id_.encode(), ABSENT.encode()) == absent
        assert rows_of(foreign_workspace) == before

    before = rows_of(foreign_workspace)
    ask_for_theirs()
    with monkeypatch.context() as patch:
        patch.setattr(Caller, "beneath", lambda self, rows: rows)
        ask_for_theirs()
    absent = answers(ABSENT, theirs)  # to its own workspace one of them is known, or all this would try nothing
    assert any(answers(id_, theirs) != absent for id_ in theirs.ids())


@pytest.mark.parametrize("name", LISTS)
def test_a_list_holds_nothing_of_another_workspace(ask, ours, theirs, monkeypatch, name):
    whole = ask(document(name, {}), ours.key)
    answer = json.loads(whole)["data"][name]
    assert answer["totalCount"] == len(answer["collectionItems"]) > 0
    assert [id_ for id_ in theirs.ids() if id_ in json.dumps(answer)] == []
    monkeypatch.setattr(Caller, "beneath", lambda self, rows: rows)
    assert ask(document(name, {}), ours.key) == whole  # the database, by itself, shows no more


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("filtered", [True, False])
@pytest.mark.parametrize("name", SUBSCRIPTIONS)
def test_a_subscription_answers_the_same_with_the_filter_and_without(ours, theirs, monkeypatch, name, filtered):
    async def refusal(id_):
        caller = Caller(f"Bearer {ours.key}", None)
        with pytest.raises(Invalid) as refused:
            await checked(Call(document(name, {("endpointId",): id_})), caller).follow(caller)
        return json.dumps([formatted(error, caller) for error in refused.value.errors])

    if not filtered:
        monkeypatch.setattr(Caller, "beneath", lambda self, rows: rows)
    absent = asyncio.run(refusal(ABSENT))
    assert '"NOT_FOUND"' in absent
    for id_ in theirs.ids():
        assert asyncio.run(refusal(id_)).replace(id_, ABSENT) == absent

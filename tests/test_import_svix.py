"""Endpoints of Svix come over as webhooks, once, and are kept up."""

import json
from base64 import b64encode

import pytest
from django.core.management import CommandError, call_command

from endpoints.models import Endpoint
from endpoints.vault import unseal

SECRET = f"whsec_{b64encode(b'twenty-four-bytes-of-key').decode()}"
# Of Svix's reference: https://api.svix.com/docs#tag/Endpoint/operation/v1.endpoint.list
ORDERS = {
    "id": "ep_1srOrx2ZWZBpBUvZwXKQmoEYga2",
    "uid": "orders",
    "url": "https://example.com/webhook/",
    "version": 1,
    "description": "Orders of the shop",
    "filterTypes": ["order.paid", "order.sent"],
    "channels": ["project_123"],
    "rateLimit": 20,
    "disabled": False,
    "metadata": {"team": "a"},
    "createdAt": "2019-08-24T14:15:22Z",
    "updatedAt": "2019-08-24T14:15:22Z",
    "headers": {"X-Team": "shop-team"},
    "secret": SECRET,
}
OFF = {"id": "ep_2", "url": "https://example.com/off", "description": "", "disabled": True}


@pytest.fixture
def bring_in(tmp_path, workspace, capsys):
    def run(*listed, dry_run=False):
        path = tmp_path / "endpoints.json"
        path.write_text(json.dumps({"data": listed, "iterator": None, "done": True}))
        call_command("import_svix", workspace.name, path, dry_run=dry_run)
        return capsys.readouterr().out.splitlines()

    return run


def test_endpoints_come_over_with_what_they_have(bring_in):
    said = bring_in(ORDERS, OFF)

    orders, off = Endpoint.objects.order_by("-url")
    assert said == [
        f"orders: made, {orders.pk}; left out: channels, metadata",
        f"ep_2: made, {off.pk}",
    ]
    assert (orders.name, orders.url, orders.secret) == ("Orders of the shop", ORDERS["url"], SECRET)
    assert (orders.rate_limit, orders.rate_period_s) == (20, 1)
    assert unseal(orders.headers["X-Team"].encode()) == b"shop-team"
    [event_filter] = orders.event_filters.all()
    assert event_filter.definition == {"pattern": {"type": ["order.paid", "order.sent"]}}
    assert (off.name, off.state, off.state_reason) == ("ep_2", "DISABLED", "Disabled in Svix.")


def test_a_second_run_changes_what_differs_and_nothing_else(bring_in):
    bring_in(ORDERS, OFF)
    before = list(Endpoint.objects.order_by("pk").values())

    assert [line.split(",")[0] for line in bring_in(ORDERS, OFF)] == ["orders: as it was", "ep_2: as it was"]
    assert list(Endpoint.objects.order_by("pk").values()) == before

    moved = {**ORDERS, "url": "https://example.com/moved", "filterTypes": None}
    assert [line.split(",")[0] for line in bring_in(moved, OFF)] == ["orders: changed", "ep_2: as it was"]
    endpoint = Endpoint.objects.get(url="https://example.com/moved")
    assert list(endpoint.event_filters.all()) == []
    Endpoint.remove([endpoint])
    assert bring_in(moved)[0].startswith("orders: was deleted here")


def test_headers_that_a_list_leaves_out_stay_as_they_are_and_an_empty_one_takes_them_away(bring_in):
    bring_in(ORDERS)
    listed = {name: value for name, value in ORDERS.items() if name != "headers"}

    assert bring_in({**listed, "description": "Other"})[0].startswith("orders: changed")
    endpoint = Endpoint.objects.get()
    assert (endpoint.name, unseal(endpoint.headers["X-Team"].encode())) == ("Other", b"shop-team")

    assert bring_in({**listed, "description": "Other", "headers": {}})[0].startswith("orders: changed")
    assert Endpoint.objects.get().headers == {}


def test_any_number_of_endpoints_may_share_a_name(bring_in):
    alike = [{**OFF, "id": f"ep_{number}", "description": "Alike", "disabled": False} for number in range(25)]

    assert [line.split(",")[0] for line in bring_in(*alike)] == [f"ep_{number}: made" for number in range(25)]
    assert [line.split(",")[0] for line in bring_in(*alike)] == [f"ep_{number}: as it was" for number in range(25)]
    assert Endpoint.objects.filter(name="Alike").count() == 25


def test_a_dry_run_does_nothing(bring_in):
    assert bring_in(ORDERS, dry_run=True)[-1] == "Nothing of this was done: --dry-run."
    assert not Endpoint.objects.exists()


def test_one_that_is_refused_leaves_all_of_them_out(bring_in):
    with pytest.raises(CommandError, match="ep_2: url .* Nothing was done"):
        bring_in(ORDERS, {**OFF, "url": "ftp://example.com"})
    assert not Endpoint.objects.exists()


def test_what_is_no_list_is_refused(tmp_path, workspace):
    path = tmp_path / "endpoints.json"
    path.write_text('{"data": [{"id": 1}]}')
    with pytest.raises(CommandError, match=r"This is no list of Svix's endpoints: .*\$\.data\[0\]"):
        call_command("import_svix", workspace.name, path)

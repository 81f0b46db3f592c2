"""A filter that is edited in one process decides the very next event in another. FILTER_EDITS=1000 edits as often."""

import os

import pytest
import requests

from endpoints.models import Endpoint, EventFilter
from routing.models import Delivery

EDITS = int(os.environ.get("FILTER_EDITS", "50"))
EDIT = """
mutation ($id: ID!, $pattern: JSON!) {
  updateEventFilters(id: $id, eventFiltersInput: {pattern: $pattern}) { id }
}
"""

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["endpoints", "routing"])


def post(web, key, path, body):
    answer = requests.post(
        f"http://127.0.0.1:{web.port}/event-service/{path}",
        json=body,
        headers={"Authorization": f"Bearer {key}"},
        timeout=20,
    )
    assert answer.ok, answer.text
    assert "errors" not in answer.json()


def test_a_filter_that_is_edited_in_one_process_decides_the_next_event_in_another(workspace, key, web, other_web):
    endpoint = Endpoint.create_webhook(workspace_id=workspace.pk, name="Edited", url="https://example.com/")
    edited = EventFilter.create(
        workspace_id=workspace.pk, name="Edited", definition={"pattern": {"type": ["none"]}}, endpoints=[endpoint]
    )

    for number in range(EDITS):
        pattern = {"type": [f"edit-{number}"]}
        post(web, key, "graphql", {"query": EDIT, "variables": {"id": str(edited.pk), "pattern": pattern}})
        post(other_web, key, "events", [{"type": f"edit-{number}"}, {"type": f"edit-{number - 1}"}])

    owed = Delivery.objects.filter(endpoint=endpoint).order_by("seq").values_list("event__type", flat=True)
    assert list(owed) == [f"edit-{number}" for number in range(EDITS)]

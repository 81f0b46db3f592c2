"""What schemathesis can't know of our doors."""

from datetime import UTC
from typing import Any

import schemathesis
from hypothesis import strategies
from schemathesis.graphql import nodes


@schemathesis.check
def an_error_has_a_code_and_is_no_fault_of_ours(_ctx: Any, response: Any, _case: Any) -> None:
    """In place of schemathesis's own check of GraphQL, for which an id that is not there is a fault of the server."""
    codes = {error["extensions"]["code"] for error in response.json().get("errors", ())}
    assert "INTERNAL" not in codes, response.json()
    assert response.status_code in (200, 400)


times = strategies.datetimes(timezones=strategies.just(UTC)).map(lambda time: nodes.String(time.isoformat()))
schemathesis.graphql.scalar("DateTime", times)
schemathesis.graphql.scalar("JSON", strategies.sampled_from(['{"a":1}', "[]", "null"]).map(nodes.String))

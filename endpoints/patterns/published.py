"""The published form of a filter, {"in": {"eventTypes": [...], "cameraIds": [...]}}: a pattern in other words."""

from typing import Any

from django.utils.translation import gettext as _

from endpoints.errors import BadInput
from endpoints.patterns.errors import is_, refusal

PUBLISHED_DATA_FIELDS = {"cameraIds": "cameraId", "agentIds": "agentId", "profileGroupIds": "profileGroupIds"}


def as_pattern(conditions: Any) -> dict[str, Any]:
    """Return the pattern that the published `in` form stands for. Raises BadInput."""
    if not isinstance(conditions, dict):
        raise refusal("in", is_(conditions), _("write an object"))
    pattern: dict[str, Any] = {}
    for name, wanted in conditions.items():
        if name != "eventTypes" and name not in PUBLISHED_DATA_FIELDS:
            known = ", ".join(["eventTypes", *PUBLISHED_DATA_FIELDS])
            said = _("%(name)s is no field of in; use %(known)s.")
            raise BadInput(said % {"name": repr(name), "known": known}, f"in.{name}")
        if wanted is None:
            continue
        if not isinstance(wanted, list) or not wanted or not all(isinstance(value, str) for value in wanted):
            raise refusal(f"in.{name}", is_(wanted), _("write a list of strings, not empty"))
        if name == "eventTypes":
            pattern["type"] = [{"equals-ignore-case": value} for value in wanted]
        else:
            pattern.setdefault("data", {})[PUBLISHED_DATA_FIELDS[name]] = wanted
    return pattern

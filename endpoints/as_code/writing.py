"""The file that a workspace is exported to. Secrets are references in it, by which `apply` finds them."""

import re
from collections.abc import Callable
from typing import Any

from endpoints.as_code.documents import ENDPOINTS, KINDS, Document, Documents
from endpoints.as_code.yaml_text import dump

VERSION = 1


def exported(documents: Documents) -> Document:
    """Return what the file holds: the documents, with names for the secrets of endpoints' headers.

    A signing secret is left out: who has none in a file keeps it, or is given one. So is a state but PAUSED: that an
    endpoint was disabled is no configuration.
    """
    taken: set[str] = set()

    def name_for(endpoint: str, header: str) -> str:
        wanted = re.sub(r"[^A-Z0-9]+", "_", f"{endpoint}_{header}".upper()).strip("_") or "HEADER"
        name, number = wanted, 1
        while name in taken or name[0].isdigit():
            number += 1
            name = f"HEADER_{wanted}_{number}"
        taken.add(name)
        return name

    found: Document = {"version": VERSION}
    for kind in KINDS:
        written = [{"name": name, **document} for name, document in documents[kind].items()]
        found[kind] = [_endpoint(each, name_for) for each in written] if kind == ENDPOINTS else written
    return found


def _endpoint(document: Document, name_for: Callable[[str, str], str]) -> Document:
    written = {field: value for field, value in document.items() if field != "secret"}
    if written.get("state") != "PAUSED":
        written.pop("state", None)
    if "headers" in written:
        name: Any = written["name"]
        written["headers"] = {header: {"env": name_for(name, header)} for header in written["headers"]}
    return written


def text_of(file: Document) -> str:
    return "# Read by `manage.py apply`. See docs/configuration-as-code.md.\n" + dump(file)

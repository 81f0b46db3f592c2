"""Secrets by reference: {env: NAME} or {file: PATH} stand for a value that is no part of the file."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from endpoints.as_code.documents import Secret
from endpoints.errors import BadInput


class References:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.unset: list[str] = []

    def resolved(self, field: str, value: Any) -> Any:
        """Return the value of a field with a Secret for each reference. Raises BadInput for what is no reference."""
        if field == "secret":
            if not isinstance(value, dict):
                raise BadInput("secret is not in the file; write {env: NAME} or {file: PATH}.", field)
            return self._secret(field, value)
        if field == "headers" and isinstance(value, dict):
            return {name: self._secret(field, each) if isinstance(each, dict) else each for name, each in value.items()}
        return value

    def _secret(self, field: str, reference: dict[str, Any]) -> Secret:
        (kind, place), *others = reference.items() or {"": ""}.items()
        if others or kind not in ("env", "file") or not isinstance(place, str):
            raise BadInput(
                f"{field} has {', '.join(reference) or 'nothing'}; write {{env: NAME}} or {{file: PATH}}.", field
            )
        found = self._environment.get(place) if kind == "env" else _content(place)
        if not found:
            what = (
                f"the variable {place} is not set" if kind == "env" else f"the file {place} can't be read, or is empty"
            )
            self.unset.append(f"{what}.")
        return Secret(partial(_as_is, found or None))


def _content(place: str) -> str | None:
    try:
        return Path(place).read_text().rstrip("\r\n")
    except (OSError, UnicodeDecodeError):
        return None


def _as_is(value: str | None) -> str | None:
    return value

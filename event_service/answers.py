"""JSON as an answer that a person may look at, too."""

from typing import Any

from django.http import JsonResponse


class JsonLine(JsonResponse):
    """JSON with the line's end: what a shell shows next does not stick to it."""

    def __init__(self, data: Any, **given: Any) -> None:
        super().__init__(data, **given)
        self.content += b"\n"

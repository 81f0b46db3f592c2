"""The documentation as a site, and its recipes."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from endpoints.patterns import parse_pattern

ROOT = Path(__file__).resolve().parent.parent
RECIPES = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", (ROOT / "docs/cookbook.md").read_text(), re.S)]
# Of each recipe an event that it wants, and one that it does not.
EVENTS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"type": "invoice.sent"}, {"type": "order.sent"}),
    (
        {"data": {"total": 101, "customer": {"country": "AT"}}},
        {"data": {"total": 100, "customer": {"country": "AT"}}},
    ),
    ({"type": "order.paid"}, {"type": "test.ping"}),
    ({"data": {"customer": {"name": "x"}}}, {"data": {"customer": {"email": "x"}}}),
    ({"source": "desk", "data": {"urgent": True}}, {"source": "desk", "data": {"urgent": False}}),
    ({"data": {"email": "a@example.com"}}, {"data": {"email": "a@example.org"}}),
    (
        {"data": {"items": [{"sku": "A-1", "count": 2}]}},
        {"data": {"items": [{"sku": "A-1", "count": 1}, {"sku": "A-2", "count": 2}]}},
    ),
]


@pytest.mark.parametrize(("recipe", "events"), list(zip(RECIPES, EVENTS, strict=True)))
def test_a_recipe_finds_what_it_says(recipe: Any, events: tuple[dict[str, Any], dict[str, Any]]) -> None:
    assert [parse_pattern(recipe).match(event) for event in events] == [True, False]


def test_the_site_is_built_and_needs_nobody_else(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", "docs", "-d", tmp_path / "cache", "."]
    built = subprocess.run([*command, tmp_path / "site"], cwd=ROOT, text=True, capture_output=True)

    assert (built.returncode, built.stderr) == (0, "")
    fetched = re.compile(r'<(?:script|img|link)[^>]+(?:src|href)="(https?:[^"]+)"')
    pages = list((tmp_path / "site").rglob("*.html"))
    assert {found for page in pages for found in fetched.findall(page.read_text())} == set()
    assert {"index.html", "api.html", "cookbook.html", "graphql.html", "migrating.html"} <= {
        page.name for page in pages
    }

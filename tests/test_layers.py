"""Arrows point one way: routing imports endpoints, endpoints never names routing, the project imports both."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# What knows only its own subject: policy, arithmetic, and the bytes of the wire.
FORBIDDEN = {
    "endpoints": ("routing", "event_service"),
    "routing/retry.py": ("django", "endpoints", "routing"),
    "routing/envelope.py": ("django", "endpoints", "routing"),
    "routing/egress": ("endpoints.models", "endpoints.auth", "endpoints.schema", "routing", "django.db"),
    "routing/listening.py": ("django", "endpoints", "routing"),
    "routing/forwarding.py": ("django.db", "endpoints.models", "routing.models"),
    "routing/webhooks.py": ("endpoints", "routing.models", "django.db"),
    "routing/router.py": ("routing.worker", "routing.queue", "requests"),
    "event_service/postgres": ("endpoints", "routing"),
    "event_service/server": ("endpoints", "routing"),
}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def within(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")


def test_no_module_imports_what_lies_above_it() -> None:
    crossings = [
        f"{path.relative_to(ROOT)} imports {name}"
        for place, forbidden in FORBIDDEN.items()
        for path in ([ROOT / place] if place.endswith(".py") else sorted((ROOT / place).rglob("*.py")))
        for name in imports(path)
        if any(within(name, module) for module in forbidden) and not within(name, place.replace("/", "."))
    ]

    assert crossings == []


def test_every_environment_variable_is_read_in_the_settings() -> None:
    readers = [
        str(path.relative_to(ROOT))
        for folder in ("endpoints", "routing", "event_service")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "os.environ.get(" in path.read_text()
        or "os.environ[" in path.read_text()
        or "os.getenv(" in path.read_text()
    ]

    assert readers == ["event_service/settings.py"]

"""YAML as people mean it: `NO` is a country and 2026-11-26 a text. What is read keeps the lines that it stood on."""

import re
from collections.abc import Callable
from typing import Any

import yaml

Path = tuple[str | int, ...]
Lines = dict[Path, int]
_TAGS = {  # those of YAML 1.2's core schema: what JSON has
    "null": (r"^(?:null|Null|NULL|~|)$", "nN~"),
    "bool": (r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    "int": (r"^[-+]?[0-9]+$", "-+0123456789"),
    "float": (r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", "-+.0123456789"),
}


_BOOLS = {"true": True, "false": False}
_READ: dict[str, Callable[[str], Any]] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": lambda text: _BOOLS[text.lower()],
    "null": lambda text: {"": None, "~": None, "null": None}[text.lower()],
}
MOST_LEVELS = 100
_BREAKS = re.compile("[\x85\u2028\u2029]")  # of lines, that people don't see


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}


class _Dumper(yaml.SafeDumper):
    """Quotes what this reader, or one of YAML 1.1, would take for something else than a text."""

    yaml_implicit_resolvers = {first: list(known) for first, known in yaml.SafeDumper.yaml_implicit_resolvers.items()}

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _as_written(dumper: _Dumper, text: str) -> yaml.Node:
    """Quote a text with such a break: it would be folded into a space."""
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, '"' if _BREAKS.search(text) else None)


_Dumper.add_representer(str, _as_written)
for _tag, (_pattern, _first) in _TAGS.items():
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), [*_first, ""])


class Unreadable(ValueError):
    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line = line


def load(text: str) -> tuple[Any, Lines]:
    """Return the document and the line of each of its places. Raises Unreadable."""
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Unreadable(mark.line + 1 if mark else 1, f"This is no YAML: {error.problem}.") from None
    except yaml.YAMLError as error:
        raise Unreadable(1, f"This is no YAML: {error}.") from None
    lines: Lines = {}
    return (None if node is None else _value(node, (), lines)), lines


def dump(document: Any) -> str:
    return str(yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120))


def _value(node: yaml.Node, path: Path, lines: Lines) -> Any:
    line = lines.setdefault(path, node.start_mark.line + 1)
    if len(path) > MOST_LEVELS:
        raise Unreadable(line, f"This has over {MOST_LEVELS} levels, or is an alias within itself.")
    if isinstance(node, yaml.SequenceNode):
        return [_value(child, (*path, index), lines) for index, child in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, lines)
    kind = node.tag.removeprefix("tag:yaml.org,2002:")
    if kind not in _READ:
        raise Unreadable(line, f"{node.tag} is no type that a file may have.")
    try:
        return _READ[kind](node.value)
    except (ValueError, KeyError):
        raise Unreadable(line, f"{node.value!r:.60} is no {kind}.") from None


def _mapping(node: yaml.MappingNode, path: Path, lines: Lines) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, child in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise Unreadable(line, "A name is a text, and no list or mapping.")
        if key.value in found:
            raise Unreadable(line, f"{key.value} is there twice.")
        lines[(*path, key.value)] = line
        found[key.value] = _value(child, (*path, key.value), lines)
    return found

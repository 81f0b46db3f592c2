"""What the service is made of: one version of each package, none older than its floor, all of them listed."""

import json
import re
import tomllib
from importlib.metadata import distribution, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent


def lines(name):
    found = (line.partition("#")[0].strip() for line in (ROOT / name).read_text().splitlines())
    return [line for line in found if line and not line.startswith("-")]


def requirements(name):
    return [Requirement(line) for line in lines(name)]


def pinned(name):
    """Return the version of each package; a requirement that is not exact fails."""
    found = {}
    for requirement in requirements(name):
        (specifier,) = requirement.specifier
        assert specifier.operator == "==", requirement
        found[canonicalize_name(requirement.name)] = specifier.version
    return found


def closure(name):
    """Return what the packages of a file need here, and what that needs, and so on."""
    known, waiting = set(), requirements(name)
    while waiting:
        requirement = waiting.pop()
        package = canonicalize_name(requirement.name)
        if package in known or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        known.add(package)
        extras = ["", *requirement.extras]
        for text in distribution(requirement.name).requires or []:
            needed = Requirement(text)
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(Requirement(text.partition(";")[0]))
    return known


FILES = [
    *("requirements.txt", "requirements-dev.txt", "requirements-tracing.txt", "requirements-buses.txt"),
    *("requirements-audit.txt", "requirements-schemathesis.txt"),
]


@pytest.mark.parametrize("name", [*FILES, "constraints.txt"])
def test_each_requirement_is_one_version(name):
    assert len(pinned(name)) >= 2


@pytest.mark.parametrize("name", FILES[:4])
def test_the_constraints_have_what_is_required_and_all_that_it_needs(name):
    constraints = pinned("constraints.txt")
    assert pinned(name).items() <= constraints.items()
    assert closure(name) - set(constraints) == set()


def test_what_is_installed_runs_on_the_oldest_python():
    """Debian 12 has 3.11.2, and a package that wants 3.11.5 keeps script/setup from ending there."""
    asked = {name: distribution(name).metadata["Requires-Python"] for name in closure("requirements-dev.txt")}
    assert [(name, python) for name, python in asked.items() if python and "3.11.0" not in SpecifierSet(python)] == []


def test_what_is_installed_is_what_the_constraints_say():
    needed = set.union(*map(closure, FILES[:4]))
    constraints = pinned("constraints.txt")
    assert {name: version(name) for name in needed} == {name: constraints[name] for name in needed}


@pytest.mark.parametrize("floor", requirements("floors.txt"), ids=lambda floor: floor.name)
def test_nothing_is_older_than_its_floor(floor):
    name = canonicalize_name(floor.name)
    assert pinned("constraints.txt")[name] in floor.specifier
    assert version(name) in floor.specifier


def test_the_floor_is_not_below_what_is_known_to_be_unsafe():
    unsafe = {"requests": "2.32.3", "urllib3": "2.6.2", "daphne": "4.2.1", "django": "5.2.13"}
    floors = {canonicalize_name(floor.name): floor.specifier for floor in requirements("floors.txt")}
    assert [name for name, version in unsafe.items() if version in floors[name]] == []


def test_redis_with_its_time_out_is_not_among_them():
    assert "redis" not in pinned("constraints.txt")


def test_the_bill_of_materials_lists_what_the_service_runs_on():
    bill = json.loads((ROOT / "sbom.cdx.json").read_text())
    listed = {canonicalize_name(each["name"]): each["version"] for each in bill["components"]}
    constraints = pinned("constraints.txt")
    assert bill["bomFormat"] == "CycloneDX"
    assert listed.items() <= constraints.items()
    assert closure("requirements.txt") <= set(listed)
    assert {each["purl"] for each in bill["components"]} == {f"pkg:pypi/{name}@{v}" for name, v in listed.items()}


def test_the_extras_are_the_clients_of_the_buses():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert sorted(each for extra in extras.values() for each in extra) == sorted(lines("requirements-buses.txt"))


def test_the_set_up_keeps_to_the_constraints():
    assert re.search(r"pip install .*-c constraints\.txt", (ROOT / "script/setup").read_text())


def test_the_version_is_one():
    from event_service.settings import VERSION

    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION


def test_who_finds_a_hole_is_told_where_to_say_so():
    text = (ROOT / "SECURITY.md").read_text()
    assert "Reporting" in text
    assert all(name in text for name in ("script/audit", "sbom.cdx.json", "floors.txt", "script/egress"))

"""What is deployed fits the service: commands, doors, variables, rights. script/deploy-lint asks their schemas."""

from pathlib import Path

import pytest
import yaml
from django.core.management import get_commands, load_command_class
from django.urls import resolve

ROOT = Path(__file__).resolve().parent.parent
MANIFESTS = [
    each for path in sorted((ROOT / "deploy/kubernetes").iterdir()) for each in yaml.safe_load_all(path.read_text())
]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SETTINGS = (ROOT / "event_service/settings.py").read_text()
DEPLOYED = {
    each["metadata"]["name"]: each["spec"]["template"]["spec"]
    for each in MANIFESTS
    if each["kind"] in ("Deployment", "Job")
}
PARTS = {name: pod["containers"][0] for name, pod in DEPLOYED.items()}


def of_kind(kind):
    return [each for each in MANIFESTS if each["kind"] == kind]


@pytest.mark.parametrize(
    "command",
    [
        *(part["args"] for part in PARTS.values()),
        *(part["command"] for name, part in COMPOSE["services"].items() if name != "postgres"),
    ],
    ids=" ".join,
)
def test_what_is_started_are_commands_with_their_options(command):
    name, *options = command
    load_command_class(get_commands()[name], name).create_parser("manage.py", name).parse_args(options)


def test_probes_ask_doors_that_there_are_by_a_host_that_is_served():
    (config,) = of_kind("ConfigMap")
    probes = {kind: PARTS["event-service-web"][kind]["httpGet"] for kind in ("livenessProbe", "readinessProbe")}

    assert {kind: resolve(probe["path"]).func.__name__ for kind, probe in probes.items()} == {
        "livenessProbe": "healthz",
        "readinessProbe": "readyz",
    }
    hosts = {header["value"] for probe in probes.values() for header in probe["httpHeaders"]}
    assert hosts <= set(config["data"]["ALLOWED_HOSTS"].split(","))


def test_the_variables_are_those_that_the_settings_read():
    (config,) = of_kind("ConfigMap")
    given = {*config["data"], *COMPOSE["x-service"]["environment"]}

    assert [name for name in sorted(given) if f'"{name}"' not in SETTINGS] == []


@pytest.mark.parametrize("name", DEPLOYED)
def test_each_part_may_do_little_and_takes_its_secrets_by_reference(name):
    pod, part = DEPLOYED[name], PARTS[name]
    rights = part["securityContext"]

    assert (pod["securityContext"]["runAsNonRoot"], pod["automountServiceAccountToken"]) == (True, False)
    assert (rights["allowPrivilegeEscalation"], rights["readOnlyRootFilesystem"]) == (False, True)
    assert rights["capabilities"] == {"drop": ["ALL"]}
    assert part["resources"].keys() == {"requests", "limits"}
    assert {"secretRef": {"name": "event-service"}} in part["envFrom"]
    assert of_kind("Secret") == []


def test_budgets_and_the_service_select_what_there_is():
    labels = [each["spec"]["template"]["metadata"]["labels"] for each in of_kind("Deployment")]
    budgets = [each["spec"]["selector"]["matchLabels"] for each in of_kind("PodDisruptionBudget")]
    (service,) = of_kind("Service")

    assert budgets == labels
    assert service["spec"]["selector"] in labels


def test_the_image_has_what_the_service_is_made_of_and_runs_as_nobody_much():
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    copied = {word for line in lines if line.startswith("COPY") for word in line.split()[1:-1]}
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}

    assert copied == let_in == {name for name in let_in if (ROOT / name).exists()}
    assert copied >= {"manage.py", "endpoints", "routing", "event_service", "requirements.txt", "constraints.txt"}
    assert "USER 10001" in lines

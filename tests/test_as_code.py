"""Configuration as code: out of a workspace and into another one, by `export` and `apply`."""

import io
import json
from base64 import b64encode

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command, execute_from_command_line

from endpoints.as_code.documents import ENDPOINTS, FILTERS, TYPES
from endpoints.as_code.planning import plan
from endpoints.as_code.reading import File
from endpoints.as_code.yaml_text import Unreadable, dump, load
from endpoints.models import AuditEntry, Endpoint, EventFilter, EventType, FilterLink, Workspace

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="
FILE = """\
version: 1
eventTypes:
  - name: order.paid
    description: An order is paid
    schema: {type: object, required: [total]}
    enforcement: REJECT
filters:
  - name: paid in Norway
    definition: {pattern: {type: [order.paid], data: {country: [NO], since: ["2026-11-26"]}}}
  - name: everything
    definition: {pattern: {}}
endpoints:
  - name: billing
    type: WEB_HOOK
    url: https://example.com/billing
    method: PUT
    headers: {Authorization: {env: BILLING_AUTHORIZATION}}
    secret: {env: BILLING_SECRET}
    asymmetricSignatures: true
    retryPolicy: {schedule: [1, 2.5], maxAgeSeconds: 60}
    maxInFlight: 7
    rateLimit: {count: 5, periodSeconds: 60}
    ordering: FIFO_BLOCK
    payloadFormat: CLOUDEVENTS_BINARY
    payloadShape: {paths: [customer.id]}
    state: PAUSED
    filters: [paid in Norway, everything]
  - name: screen
    type: WEB_SOCKET
    openAccess: true
    filters: [everything]
"""


@pytest.fixture(autouse=True)
def secrets(monkeypatch):
    monkeypatch.setenv("BILLING_AUTHORIZATION", "Bearer planted")
    monkeypatch.setenv("BILLING_SECRET", SECRET)


@pytest.fixture
def applied(workspace, tmp_path):
    """Apply a text to the workspace: applied(text, options) returns what was said, as JSON."""

    def apply(text, *options, to=workspace):
        path = tmp_path / "file.yaml"
        path.write_text(text)
        out = io.StringIO()
        call_command("apply", to.name, str(path), "--json", *options, stdout=out, stderr=io.StringIO())
        return json.loads(out.getvalue())

    return apply


def exported(workspace):
    out = io.StringIO()
    call_command("export", workspace.name, stdout=out)
    return out.getvalue()


def refused(applied, text, *options):
    with pytest.raises(CommandError) as refusal:
        applied(text, *options)
    return [line.partition("file.yaml:")[2] for line in str(refusal.value).splitlines()[1:]]


def test_what_is_exported_makes_an_empty_workspace_the_same(applied, workspace, foreign_workspace):
    assert [change["action"] for change in applied(FILE)["changes"]] == ["create"] * 5
    first = exported(workspace)
    assert "planted" not in first
    assert "whsec" not in first
    assert "env: BILLING_AUTHORIZATION" in first

    applied(first, to=foreign_workspace)
    assert exported(foreign_workspace) == first
    billing = Endpoint.objects.get(workspace=workspace, name="billing")
    assert (billing.secret, billing.max_in_flight, billing.state) == (SECRET, 7, "PAUSED")
    assert FilterLink.objects.filter(workspace=foreign_workspace).count() == 3
    assert EventFilter.objects.filter(definition__pattern__data__country=["NO"]).count() == 2


def test_applied_twice_it_changes_nothing(applied, workspace):
    applied(FILE)
    before = AuditEntry.objects.count()
    assert applied(FILE)["changes"] == []
    assert applied(exported(workspace), "--prune")["changes"] == []
    assert AuditEntry.objects.count() == before


def test_a_dry_run_says_what_would_change_and_changes_nothing(applied, workspace, monkeypatch):
    applied(FILE)
    before = exported(workspace)
    monkeypatch.setenv("BILLING_SECRET", f"whsec_{'A' * 44}")
    changed = FILE.replace("count: 5", "count: 6").replace("    maxInFlight: 7\n", "").replace("planted", "other")
    (change,) = applied(changed, "--dry-run")["changes"]
    assert change["fields"] == {
        "secret": {"before": "(secret)", "after": "(secret)"},
        "rateLimit": {"before": {"count": 5, "periodSeconds": 60}, "after": {"count": 6, "periodSeconds": 60}},
        "maxInFlight": {"before": 7, "after": None},
    }
    assert exported(workspace) == before

    applied(changed)
    billing = Endpoint.objects.get(name="billing")
    assert (billing.rate_limit, billing.max_in_flight, billing.secret) == (6, None, f"whsec_{'A' * 44}")
    assert billing.signing_keys.filter(scheme="v1").count() == 2  # the old one goes on for a while
    entry = AuditEntry.objects.get(
        object_type="Endpoint", operation="apply", changes__has_key="rate_limit", changes__max_in_flight__after=None
    )
    assert entry.actor_kind == "COMMAND"


def test_what_was_done_is_told_as_done(workspace, tmp_path):
    path, said = tmp_path / "file.yaml", []
    path.write_text("version: 1\nendpoints:\n  - {name: screen, type: WEB_SOCKET}\n")
    for options in (["--dry-run"], []):
        out = io.StringIO()
        call_command("apply", workspace.name, str(path), *options, stdout=out)
        said.append(out.getvalue().splitlines()[-1])
    assert said == ["1 to create, 0 to change, 0 to delete.", "1 created, 0 changed, 0 deleted."]


def test_an_object_is_renamed_by_the_name_that_it_had(applied):
    applied(FILE)
    ids = set(Endpoint.objects.values_list("pk", flat=True)) | set(EventFilter.objects.values_list("pk", flat=True))
    renamed = FILE.replace("- name: screen", "- name: wall\n    renamedFrom: screen")
    renamed = renamed.replace("- name: everything", "- name: all\n    renamedFrom: everything")
    renamed = renamed.replace("everything]", "all]")
    applied(renamed)
    assert ids == {*Endpoint.objects.values_list("pk", flat=True), *EventFilter.objects.values_list("pk", flat=True)}
    assert set(Endpoint.objects.values_list("name", flat=True)) == {"billing", "wall"}
    assert applied(renamed)["changes"] == []


def test_what_is_not_in_the_file_stays_unless_pruned(applied, workspace):
    applied(FILE)
    EventType.objects.create(workspace=workspace, name="arrived", count=3)
    Endpoint.create_web_socket(workspace_id=workspace.pk, name="screen")  # of two with a name that the file has not
    some = FILE.partition("eventTypes")[0]
    said = applied(some)
    assert (len(said["notInFile"]), said["changes"]) == (5, [])
    assert Endpoint.objects.live().count() == 3

    applied(some, "--prune")
    assert (Endpoint.objects.live().count(), EventFilter.objects.count()) == (0, 0)
    assert set(EventType.objects.values_list("name", "schema")) == {("arrived", None), ("order.paid", None)}


def test_all_mistakes_are_said_at_once_with_their_lines(applied, monkeypatch):
    monkeypatch.delenv("BILLING_SECRET")
    bad = FILE.replace("https://example.com/billing", "ftp://x").replace("FIFO_BLOCK", "LIFO").replace("2.5", "-2")
    bad = bad.replace("maxInFlight: 7", "maxInFlght: 7").replace("openAccess: true", "url: https://example.com/")
    bad = bad.replace("filters: [everything]", "filters: [nothing]").replace("REJECT", "REJECT\n  - name: order.paid")
    lines = refused(applied, bad)
    assert [line.partition(":")[0] for line in lines] == ["7", "16", "19", "21", "22", "24", "29", "31"]
    assert lines[1].startswith("16: url 'ftp://x'")
    assert lines[2] == "19: secret: the variable BILLING_SECRET is not set."
    assert lines[-1] == "31: A WEB_SOCKET endpoint has no url."
    assert not Endpoint.objects.exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("version: 1\nendpoints: [", "2: This is no YAML"),
        ("version: 1\nversion: 1", "2: version is there twice."),
        ("version: 2", "1: version is 2; this service reads 1."),
        ("- 1", "1: The file is no mapping"),
        (
            "version: 1\nendpoints: [{name: a, type: WEB_HOOK, url: https://a.example/, rateLimit: {count: many}}]",
            "2: rateLimit is {'count': 'many'}; write count and periodSeconds, both whole numbers.",
        ),
        ("version: 1\nfilters: [{name: !!python/name:os.system }]", "2: tag:yaml.org,2002:python/name:os.system is no"),
        (FILE.replace("{env: BILLING_SECRET}", SECRET), "18: secret is not in the file; write {env: NAME}"),
    ],
)
def test_a_file_that_is_none_is_refused(applied, text, said):
    (line,) = refused(applied, text)
    assert line.startswith(said)
    assert "MfKQ" not in line


def test_what_the_service_refuses_leaves_nothing_behind(applied, workspace):
    workspace.max_endpoints = 1
    workspace.save()
    assert refused(applied, FILE) == ["28: This workspace has 1 endpoints; at most 1 are allowed."]
    assert not EventFilter.objects.exists()


def test_names_that_stand_for_two_objects_are_refused(workspace):
    for _ in range(2):
        Endpoint.create_web_socket(workspace_id=workspace.pk, name="twin")
    with pytest.raises(CommandError, match="several endpoints with the name 'twin'; rename all but one"):
        exported(workspace)


@pytest.mark.parametrize(
    ("text", "options", "code"),
    [
        (FILE, ["--dry-run"], 2),
        ("version: 1", ["--dry-run"], 0),
        ("version: 0", ["--dry-run"], 1),
        (FILE, ["--dyr"], 1),
    ],
)
def test_the_exit_code_tells_a_pipeline(workspace, tmp_path, capsys, text, options, code):
    path = tmp_path / "file.yaml"
    path.write_text(text)
    ended = 0
    try:
        execute_from_command_line(["manage.py", "apply", workspace.name, str(path), *options])
    except SystemExit as end:
        ended = end.code
    assert ended == code


def test_without_the_secrets_a_dry_run_compares_the_rest(applied, workspace, monkeypatch):
    applied(FILE)
    monkeypatch.delenv("BILLING_SECRET")
    monkeypatch.delenv("BILLING_AUTHORIZATION")
    assert applied(FILE, "--dry-run")["changes"] == []


def test_texts_that_look_like_something_else_stay_texts():
    document = {
        "a": ["NO", "yes", "1e5", "1_000", "2026-11-26", "0x10", "~", "null", "", "1", 1, 1.5, None, True, "=", "é"]
    }
    assert load(dump(document))[0] == document
    assert load("a: [NO, yes, 2026-11-26, 0x10]")[0] == {"a": ["NO", "yes", "2026-11-26", "0x10"]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("!!int abc", "'abc' is no int."),
        ("!!int 0x1f", "'0x1f' is no int."),
        ("!!float x", "'x' is no float."),
        ("!!bool yes", "'yes' is no bool."),
        ("!!null no", "'no' is no null."),
        ("!!binary aGk=", "tag:yaml.org,2002:binary is no type that a file may have."),
        ("&x [*x]", "This has over 100 levels, or is an alias within itself."),
    ],
)
def test_what_is_no_value_is_named_with_its_line(text, said):
    with pytest.raises(Unreadable) as error:
        load(f"version: 1\na: {text}")
    assert (str(error.value), error.value.line) == (said, 2)


def test_breaks_that_nobody_sees_stay_in_texts():
    document = {"a": ["x\x85y", "x\u2028y", "x\u2029", "x\ny"]}
    assert load(dump(document))[0] == document


@pytest.mark.parametrize(("stored", "wanted"), [(True, 1), ([0], [False]), ({"p": [1.0]}, {"p": [True]})])
def test_true_is_no_1(stored, wanted):
    def documents(value):
        return {TYPES: {}, FILTERS: {"f": {"definition": value}}, ENDPOINTS: {}}

    assert plan(File(documents(wanted), {}, {}), documents(stored)).changes
    assert not plan(File(documents(stored), {}, {}), documents(stored)).changes
    assert not plan(File(documents({"p": 1}), {}, {}), documents({"p": 1.0})).changes


def test_headers_and_a_secret_that_no_key_opens_are_given_anew(applied, settings, monkeypatch):
    applied(FILE)
    settings.SEALING_KEYS = [Fernet.generate_key().decode()]
    monkeypatch.setenv("BILLING_SECRET", f"whsec_{b64encode(bytes(range(32))).decode()}")
    (change,) = applied(FILE)["changes"]
    assert set(change["fields"]) == {"headers", "secret"}
    assert applied(FILE)["changes"] == []


def test_a_workspace_is_touched_alone(applied, foreign_workspace, foreign):
    applied(FILE.replace("billing\n", "Foreign\n", 1), "--prune")
    assert Endpoint.objects.get(workspace=foreign_workspace) == foreign
    assert Workspace.objects.count() == 2

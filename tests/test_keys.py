"""Keys: their form, their end, and the doors that they open until then."""

import ast
import json
import re
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db.models.functions import Now
from django.utils import timezone

from benchmarks.wrong_keys import measure
from endpoints.auth import authenticate
from endpoints.errors import BadInput, Conflict, Unauthenticated
from endpoints.keys import checksum, is_key, new_key
from endpoints.models import ApiKey, Scope

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def rotating(workspace):
    """A key to replace, and its text."""
    return ApiKey.issue(workspace=workspace, name="rotating", scopes=["read", "publish"])


# --- what a key looks like


def test_a_key_is_found_in_a_text_by_the_pattern_in_the_docs():
    (pattern,) = re.findall(r"^    (es_live_\[.*)$", (ROOT / "docs/api.md").read_text(), re.MULTILINE)
    keys = [new_key() for _ in range(1_000)]
    assert re.findall(pattern, f"key={'&key='.join(keys)}.") == keys
    assert len(set(keys)) == 1_000
    assert all(map(is_key, keys))


def test_the_checksum_is_the_crc_32_of_what_comes_before_in_base_62():
    assert checksum("") == "000000"
    assert checksum("123456789") == "3jZRME"  # CRC-32 0xcbf43926, worked out by hand from 3421780262


@pytest.mark.parametrize("place", range(len("es_live_") + 49))
def test_a_key_with_one_character_wrong_is_none(place):
    key = new_key()
    wrong = "1" if key[place] != "1" else "2"
    assert not is_key(key[:place] + wrong + key[place + 1 :])


@pytest.mark.parametrize("change", [str.upper, lambda key: key + "0", lambda key: key[:-1], lambda key: f"{key}\n"])
def test_what_is_no_key_is_refused_before_the_database_is_asked(key, change, django_assert_num_queries):
    with django_assert_num_queries(0), pytest.raises(Unauthenticated, match="unknown, revoked or expired"):
        authenticate(change(key))


def test_a_key_is_found_by_one_query_and_its_use_is_noted_by_another(key, django_assert_num_queries):
    with django_assert_num_queries(2):
        authenticate(key)
    with django_assert_num_queries(1), pytest.raises(Unauthenticated):
        authenticate(new_key())


def test_refusing_one_wrong_key_takes_no_longer_than_refusing_another(workspace):
    """script/bench wrong_keys tries 100,000, and asks for more."""
    medians = measure(workspace, 1_600)
    asked = [value for shape, value in medians.items() if shape not in ("no checksum", "no key")]
    assert max(asked) < 1.5 * min(asked)


def test_nothing_secret_is_compared_by_operators():
    """They stop at the first difference, and how long that takes says where it is."""
    secret = re.compile(r"digest|secret|signature|password|checksum|sealed|fingerprint", re.IGNORECASE)
    allowed = {
        ("endpoints/keys.py", "text[-_CHECKSUM:] == checksum(text[:-_CHECKSUM])"),  # public
        ("endpoints/sealed.py", "again != bytes(key.sealed)"),  # of what is in the database, by a command
        ("routing/models/events.py", "digest == event.digest()"),  # of an event's content
    }
    found = set()
    for folder in ("endpoints", "routing", "event_service"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq | ast.NotEq):
                    operands = (each for each in (node.left, *node.comparators) if not isinstance(each, ast.Constant))
                    text = ast.unparse(node)
                    if any(secret.search(ast.unparse(operand)) for operand in operands):
                        found.add((str(path.relative_to(ROOT)), text))
    assert found == allowed


# --- rotating


def test_a_rotated_key_goes_on_for_a_while_beside_the_one_that_replaces_it(rotating):
    old, text = rotating
    new, new_text = old.rotate(overlap_s=60)

    assert authenticate(new_text).scopes == authenticate(text).scopes == {"read", "publish"}
    assert (new.name, new.workspace, new.expires_at) == (old.name, old.workspace, None)
    old.refresh_from_db()
    assert timedelta(seconds=50) < old.expires_at - timezone.now() <= timedelta(seconds=60)

    ApiKey.objects.filter(pk=old.pk).update(expires_at=Now())
    with pytest.raises(Unauthenticated):
        authenticate(text)


def test_without_an_overlap_the_old_key_is_revoked(rotating):
    old, text = rotating
    _, new_text = old.rotate(overlap_s=0)
    assert authenticate(new_text)
    with pytest.raises(Unauthenticated):
        authenticate(text)


def test_a_rotation_makes_no_keys_life_longer_than_it_was_to_be(workspace):
    ends = timezone.now() + timedelta(hours=1)
    old, _ = ApiKey.issue(workspace=workspace, name="short", scopes=["read"], expires_at=ends)
    new, _ = old.rotate(overlap_s=86_400)
    old.refresh_from_db()
    assert old.expires_at == ends
    assert timedelta() < new.expires_at - ends < timedelta(minutes=1)


def test_a_key_for_as_long_as_dates_go_can_be_rotated(workspace):
    ends = datetime.max.replace(tzinfo=UTC)
    old, _ = ApiKey.issue(workspace=workspace, name="long", scopes=["read"], expires_at=ends)
    assert old.rotate()[0].expires_at == ends


def test_what_can_not_be_used_is_not_rotated(rotating):
    old, _ = rotating
    with pytest.raises(BadInput, match="overlapSeconds is -1"):
        old.rotate(overlap_s=-1)
    old.revoke()
    with pytest.raises(Conflict, match="revoked or expired"):
        old.rotate()
    assert ApiKey.objects.count() == 1


def test_a_key_is_rotated_over_the_api(graphql, rotating):
    old, _ = rotating
    answer = graphql(
        f'mutation {{ rotateApiKey(id: "{old.pk}", overlapSeconds: 5) {{ key apiKey {{ name scopes prefix }} }} }}'
    )["data"]["rotateApiKey"]
    assert answer["apiKey"] == {"name": "rotating", "scopes": ["publish", "read"], "prefix": answer["key"][:14]}
    assert authenticate(answer["key"]).workspace_id == old.workspace_id


@pytest.mark.parametrize("by", ["pk", "prefix"])
def test_a_key_is_rotated_by_a_command(rotating, by):
    old, text = rotating
    out = StringIO()
    call_command("rotate_key", str(getattr(old, by)), "--overlap-seconds", "0", "--json", stdout=out)
    found = json.loads(out.getvalue())
    assert found["workspaceId"] == str(old.workspace_id) == str(authenticate(found["apiKey"]).workspace_id)
    with pytest.raises(CommandError, match="revoked or expired"):
        call_command("rotate_key", str(getattr(old, by)))
    with pytest.raises(CommandError, match="no key with the id or prefix"):
        call_command("rotate_key", "es_live_absent")


def test_a_command_makes_a_key_that_ends(workspace):
    call_command("create_key", "Ours", "--scope", "read", "--expires-in-days", "30", stdout=StringIO())
    lasts = ApiKey.objects.get().expires_at - timezone.now()
    assert timedelta(days=29, hours=23) < lasts < timedelta(days=30)
    with pytest.raises(CommandError, match="has passed"):
        call_command("create_key", "Ours", "--scope", "read", "--expires-in-days", "0", stdout=StringIO())


@pytest.mark.parametrize("scope", Scope.values)
def test_a_key_opens_no_more_than_its_scopes_after_a_rotation(workspace, scope):
    old, _ = ApiKey.issue(workspace=workspace, name="n", scopes=[scope])
    assert authenticate(old.rotate()[1]).scopes == {scope}

"""No migration holds up a table that is in use, or takes away what the version before it needs. Squawk is the judge."""

import json
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock, patch

import pytest
from django.contrib.postgres.operations import AddConstraintNotValid, AddIndexConcurrently
from django.core.management import call_command
from django.db import connection, connections, migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState
from django.db.models.signals import pre_migrate

from routing.management.commands.migrate import Executor

SQUAWK = Path(sys.executable).with_name("squawk")
# They make the tables, so nobody uses these yet.
FIRST = {
    ("endpoints", "0001_initial"),
    ("endpoints", "0002_version_triggers"),
    ("routing", "0001_initial"),
    ("routing", "0002_beside_the_tables"),
}
# Taste, and what `migrate` sees to for all of them: it waits for no lock for long, and Django opens the transaction.
EXCLUDED = [
    *("prefer-bigint-over-int", "prefer-bigint-over-smallint", "prefer-identity", "prefer-robust-stmts"),
    *("prefer-text-field", "prefer-timestamp-tz", "require-lock-timeout", "require-statement-timeout"),
    "transaction-nesting",
]
CHECK = models.CheckConstraint(condition=models.Q(attempts_made__gte=0), name="made")
INDEX = models.Index(fields=["state"], name="by_state")


def change(*operations, atomic=True):
    migration = migrations.Migration("next", "routing")
    migration.operations, migration.atomic = operations, atomic
    return migration


def findings(migration):
    """Return the rules that the migration breaks, when it is carried out after all that there are."""
    loader = MigrationLoader(connection, replace_migrations=False)
    known = (migration.app_label, migration.name) in loader.graph.nodes
    before = (migration.app_label, migration.name) if known else None
    state = loader.project_state(before, at_end=False)
    with connection.schema_editor(collect_sql=True, atomic=migration.atomic) as editor:
        migration.apply(state, editor, collect_sql=True)
    return judged("\n".join(editor.collected_sql), in_transaction=migration.atomic)


def judged(statements, *, in_transaction):
    options = ["--pg-version=15", "--reporter=json", f"--exclude={','.join(EXCLUDED)}"]
    options += ["--assume-in-transaction"] * in_transaction
    found = subprocess.run([SQUAWK, *options], input=statements, text=True, capture_output=True, check=False)
    assert found.returncode in (0, 1), found.stderr
    return sorted({each["rule_name"] for each in json.loads(found.stdout)})


def test_no_migration_after_the_first_holds_up_a_table(db):
    graph = MigrationLoader(connection, replace_migrations=False).graph
    ours = {node for node in graph.nodes if node[0] in ("endpoints", "routing")}

    assert ours >= FIRST
    assert {node: findings(graph.nodes[node]) for node in ours - FIRST} == dict.fromkeys(ours - FIRST, [])


@pytest.mark.parametrize(
    ("operation", "rules"),
    [
        (migrations.AlterField("delivery", "state", models.TextField()), ["changing-column-type"]),
        (migrations.AddIndex("delivery", INDEX), ["require-concurrent-index-creation"]),
        (migrations.AddConstraint("delivery", CHECK), ["constraint-missing-not-valid"]),
        # Versions that write the table now know nothing of the column.
        (migrations.AddField("delivery", "more", models.IntegerField(default=0)), ["ban-drop-default"]),
        (migrations.RenameField("delivery", "state", "status"), ["renaming-column"]),
        (migrations.RemoveField("attempt", "error"), ["ban-drop-column"]),
        (migrations.RunSQL("ALTER TABLE routing_delivery ADD more int NOT NULL"), ["adding-required-field"]),
        (migrations.RunSQL("ALTER TABLE routing_delivery ALTER error SET NOT NULL"), ["adding-not-nullable-field"]),
    ],
    ids=lambda given: given[0] if isinstance(given, list) else type(given).__name__,
)
def test_what_would_is_refused(db, operation, rules):
    assert findings(change(operation)) == rules


def test_there_is_a_way_to_do_each_of_these(db):
    field = models.IntegerField(db_default=0)

    assert findings(change(migrations.AddField("delivery", "more", field))) == []
    assert findings(change(AddConstraintNotValid("delivery", CHECK))) == []
    with patch.object(connections["default"], "in_atomic_block", False):  # nothing is carried out
        assert findings(change(AddIndexConcurrently("delivery", INDEX), atomic=False)) == []


def lock_timeout():
    with connection.cursor() as cursor:
        cursor.execute("SHOW lock_timeout")
        return cursor.fetchone()[0]


@pytest.mark.django_db(transaction=True)
def test_a_migration_that_is_not_noted_was_not_made(monkeypatch):
    migration = migrations.Migration("next", "nowhere")
    migration.operations = [
        migrations.CreateModel("One", [("id", models.AutoField(primary_key=True))]),
        migrations.CreateModel(
            "Two",
            [("id", models.AutoField(primary_key=True)), ("one", models.ForeignKey("nowhere.One", models.CASCADE))],
        ),
    ]
    executor = Executor(connection)
    monkeypatch.setattr(executor, "record_migration", Mock(side_effect=KeyboardInterrupt))  # killed just there

    with pytest.raises(KeyboardInterrupt):
        executor.apply_migration(ProjectState(), migration)

    assert {"nowhere_one", "nowhere_two"}.isdisjoint(connection.introspection.table_names())


def test_a_migration_waits_two_seconds_for_a_table_and_the_service_as_long_as_before(db):
    seen = []
    pre_migrate.connect(noting := lambda **_: seen.append(lock_timeout()))
    try:
        call_command("migrate", verbosity=0)
    finally:
        pre_migrate.disconnect(noting)

    assert (seen[-1], lock_timeout()) == ("2s", "0")

"""Constraints that PostgreSQL knows and Django does not, in the form that migrations write by themselves."""

from collections.abc import Sequence
from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import BaseConstraint, Model


class SameWorkspace(BaseConstraint):
    """A composite foreign key (workspace_id, column) -> target (workspace_id, id).

    A row that joins two workspaces can't be inserted, whoever writes it: SQLSTATE 23503 at once.
    """

    def __init__(self, *, column: str, target: str, name: str) -> None:
        super().__init__(name=name)
        self.column = column
        self.target = target

    def constraint_sql(self, model: type[Model] | None, schema_editor: BaseDatabaseSchemaEditor | None) -> str:
        """Add the key at the end of the migration: the unique constraint that it refers to may come after it."""
        assert model is not None
        assert schema_editor is not None
        quote = schema_editor.quote_name
        schema_editor.deferred_sql.append(
            f"ALTER TABLE {quote(model._meta.db_table)} ADD CONSTRAINT {quote(self.name)} "
            f"FOREIGN KEY (workspace_id, {quote(self.column)}) REFERENCES {quote(self.target)} (workspace_id, id)"
        )
        return ""

    create_sql = constraint_sql

    def remove_sql(self, model: type[Model] | None, schema_editor: BaseDatabaseSchemaEditor | None) -> str:
        assert model is not None
        assert schema_editor is not None
        quote = schema_editor.quote_name
        return f"ALTER TABLE {quote(model._meta.db_table)} DROP CONSTRAINT {quote(self.name)}"

    def validate(self, *args: Any, **kwargs: Any) -> None:
        """Leave it to the database: forms can't build such a row."""

    def deconstruct(self) -> tuple[str, Sequence[Any], dict[str, Any]]:
        path, args, kwargs = super().deconstruct()
        return path, args, {**kwargs, "column": self.column, "target": self.target}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SameWorkspace) and self.deconstruct() == other.deconstruct()

    def __hash__(self) -> int:
        return hash(self.name)

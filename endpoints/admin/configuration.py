"""What the pages of all configuration have in common."""

from collections.abc import Callable
from functools import partial
from json import JSONDecodeError, JSONDecoder
from typing import Any, ClassVar

import msgspec
from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from endpoints.checks import checked_name
from endpoints.errors import BadInput, Limited
from endpoints.models import Workspace
from endpoints.models.quotas import Quota, require_room

DATES = ("creation_date", "last_modified")


def checked(check: Callable[[Any], Any], value: Any) -> Any:
    """Return `value` if `check` takes it; what it says against it becomes the form's error."""
    try:
        check(value)
    except (BadInput, Limited) as refusal:
        raise ValidationError(refusal.message) from None
    return value


def needs(permission: str) -> Callable[[Any, HttpRequest], bool]:
    """Return a method of an admin, has_..._permission: whether who asks may do what has a permission of its own."""

    def has(_admin: Any, request: HttpRequest) -> bool:
        return request.user.has_perm(permission)

    return has


class NamedForm(forms.ModelForm):
    quota: ClassVar[tuple[Quota, str] | None] = None  # that another one counts for, and what they are called

    def clean_name(self) -> Any:
        return checked(checked_name, self.cleaned_data["name"])

    def clean(self) -> dict[str, Any]:
        super().clean()
        workspace = self.cleaned_data.get("workspace")
        if self.quota and workspace and self.instance._state.adding:
            checked(partial(require_room, workspace.pk, self.quota[0]), self.quota[1])
        return self.cleaned_data


class Titled(admin.ModelAdmin):
    """An admin whose pages are called by more than a row itself holds: by the names of what its ids lead to."""

    def title_of(self, row: Any) -> str:
        return str(row)

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> Any:
        if context.get("original"):
            context["subtitle"] = self.title_of(context["original"])
        return super().render_change_form(request, context, *args, **kwargs)


class ConfigurationAdmin(admin.ModelAdmin):
    """What all configuration has in common. A row never changes its workspace: its links would stay behind."""

    form = NamedForm
    search_fields = ("name", "id__exact")
    ordering = ("-creation_date", "-pk")
    readonly_fields: ClassVar[tuple[str, ...]] = ("id", *DATES)
    fixed: ClassVar[tuple[str, ...]] = ("workspace",)  # what cannot be changed once it is there
    raw_id_fields: ClassVar[tuple[str, ...]] = ("workspace",)
    list_select_related: ClassVar[bool | tuple[str, ...]] = ("workspace",)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Leave out what there is nothing to be said of yet where one is added."""
        return [field for field in self.fields or () if obj or field not in self.readonly_fields]

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Where one sees a single workspace it need not be looked up."""
        seen = list(Workspace.objects.order_by("pk")[:2]) if "workspace" in self.fixed else []
        only = {"workspace": str(seen[0].pk)} if len(seen) == 1 else {}
        return {**only, **super().get_changeform_initial_data(request)}

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return (*self.readonly_fields, *self.fixed) if obj else self.readonly_fields

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        # Only what was changed here: the rest may have changed since the page was opened.
        obj.save(update_fields=[*form.changed_data, "last_modified"] if change else None)


class StrictDecoder(JSONDecoder):
    """Reads the JSON that can be stored and written again: no NaN, no half surrogate pairs."""

    def decode(self, s: str, *_args: Any) -> Any:
        try:
            return msgspec.json.decode(s)
        except (msgspec.DecodeError, RecursionError) as error:
            raise JSONDecodeError(str(error), s, 0) from None


class JsonField(forms.JSONField):
    """JSON that can be stored; empty where there is none yet, rather than null."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**{"decoder": StrictDecoder, **given})

    def prepare_value(self, value: Any) -> Any:
        return "" if value is None else super().prepare_value(value)

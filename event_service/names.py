"""What people's pages call tables, columns and choices: as the models name them, in the language of who looks."""

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.utils.translation import gettext, gettext_lazy

APPS = ("endpoints", "routing")
AS_WRITTEN = ("method", "scheme")  # what protocols call so, in any language
CAN = {
    "add": gettext_lazy("Can add %(name)s"),
    "change": gettext_lazy("Can change %(name)s"),
    "delete": gettext_lazy("Can delete %(name)s"),
    "view": gettext_lazy("Can view %(name)s"),
}


def names() -> Iterator[tuple[Any, str, str]]:
    """Give whatever has a name on a page, the attribute that it has it in, and the name."""
    for config in map(apps.get_app_config, APPS):
        yield config, "verbose_name", str(config.verbose_name)
        for model in config.get_models():
            for attribute in ("verbose_name", "verbose_name_plural"):
                yield model._meta, attribute, str(getattr(model._meta, attribute))
            for field in (*model._meta.local_fields, *model._meta.local_many_to_many):
                yield field, "verbose_name", str(field.verbose_name)
                if field.help_text:
                    yield field, "help_text", str(field.help_text)


def choices() -> Iterator[tuple[Any, list[tuple[Any, str]]]]:
    """Give each field of the models that has choices, and these with what they are called."""
    for config in map(apps.get_app_config, APPS):
        for model in config.get_models():
            for field in model._meta.local_fields:
                chosen = getattr(field, "base_field", field)  # of an array
                if chosen.choices:
                    as_written = field.name in AS_WRITTEN
                    yield chosen, [(value, value if as_written else str(label)) for value, label in chosen.flatchoices]


def permissions() -> Iterator[str]:
    """Give the names of what the models allow besides what Django has for each."""
    for config in map(apps.get_app_config, APPS):
        for model in config.get_models():
            yield from (name for _, name in model._meta.permissions)


def permission_name(permission: Any) -> str:
    """Return what pages call a permission. The database has its name in English, for all."""
    model = permission.content_type.model_class()
    act = permission.codename.partition("_")[0]
    if model is not None and permission.codename == f"{act}_{model._meta.model_name}" and act in CAN:
        said = CAN[act] % {"name": model._meta.verbose_name}
    else:
        said = gettext(permission.name)
    return f"{permission.content_type} | {said}"


def translate() -> None:
    """Have them looked up anew for each page. Migrations do not change: they are made from how fields were written."""
    for named, attribute, name in list(names()):
        setattr(named, attribute, gettext_lazy(name))
    for field, pairs in choices():
        field.choices = [(value, gettext_lazy(label)) for value, label in pairs]
    apps.get_model("auth.Permission").__str__ = permission_name  # type: ignore[method-assign]

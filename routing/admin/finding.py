"""The lists of deliveries and events: found by what an operator knows of them, a page at a time, never counted."""

from typing import Any, ClassVar

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render

from routing.console.searches import Search
from routing.models import SavedView

PAGE = 50
BEFORE = "before"  # of the query string: the place behind which a page begins


class Finding:
    """Of a model's admin: its list is a search. What is posted to it are Django's actions, with what was chosen."""

    search: ClassVar[type[Search]]
    found_template: ClassVar[str]

    def changelist_view(self: Any, request: HttpRequest, extra_context: Any = None) -> Any:
        if request.method == "POST":
            request.GET = QueryDict()  # Django's own list knows nothing of these filters, and leads back to them
            return super().changelist_view(request, extra_context)  # type: ignore[misc]
        if not self.has_view_permission(request):
            raise PermissionDenied
        return self._found(request)

    def _found(self: Any, request: HttpRequest) -> HttpResponse:
        search = self.search(request.GET, request.user)
        place = request.GET.get(BEFORE, "")
        look = search.walk().look(place, PAGE) if search.is_valid() else None
        asked = asked_of(request)
        found = {
            "title": self.opts.verbose_name_plural.capitalize(),
            "opts": self.opts,
            "search": search,
            "look": look,
            "rows": look.rows if look else [],
            "place": place,
            "asked": asked.urlencode(),
            "older": _at(asked, look.place) if look and look.place else "",
            "views": SavedView.of(request.user, self.opts.model_name),
            "list": self.opts.model_name,
            "console": True,
        }
        return render(request, self.found_template, {**admin.site.each_context(request), **found})


def asked_of(request: HttpRequest) -> QueryDict:
    """Return what is asked for, without the place."""
    asked = QueryDict(mutable=True)
    for name, value in request.GET.items():
        if isinstance(value, str) and value and name not in (BEFORE, "act"):
            asked[name] = value
    return asked


def _at(asked: QueryDict, place: str) -> str:
    there = asked.copy()
    there[BEFORE] = place
    return there.urlencode()

"""People's pages in English and Russian: whole catalogues, the choice of a language, pages without English."""

import gettext
import re
from html.parser import HTMLParser

import pytest
from django.conf import settings

from endpoints.models import (
    ApiKey,
    AuditEntry,
    Endpoint,
    EventFilter,
    EventType,
    PortalLink,
    PortalRight,
    PortalTheme,
)
from routing.models import Attempt
from routing.portal.door import PATH
from tests import messages
from tests.test_admin import page as admin_page
from tests.traffic import end, of, record

CODES = [code for code, _ in settings.LANGUAGES if code != settings.LANGUAGE_CODE]
RUSSIAN = {"HTTP_ACCEPT_LANGUAGE": "ru-RU,ru;q=0.9,en;q=0.5"}
_FILLED = re.compile(r"%\(\w+\)s|%%s|<[^>]+>")
# Names of products, protocols and formats, what is of the API, and what Django has in English alone: Search.
NAMES = """
    Event Service English admin JSON Schema draft JPEG WebP CloudEvents Escape Enter manage py deliver serve
    paths schedule template null test pattern type
    Search
"""


@pytest.mark.parametrize("language", CODES)
def test_the_catalogue_has_every_text_translated_and_none_besides(language):
    catalog = messages.catalogue(language)
    known = {each.id: each for each in catalog if each.id}
    assert set(known) == set(messages.sources()), "run script/messages"
    lacking = [each.id for each in known.values() if each.fuzzy or not all(_texts(each.string))]
    assert lacking == []


@pytest.mark.parametrize("language", CODES)
def test_a_translation_is_filled_with_what_its_text_is_filled_with(language):
    wrong = []
    for each in messages.catalogue(language):
        wanted = sorted(_FILLED.findall(_texts(each.id)[-1]))
        wrong += [text for text in _texts(each.string) if each.id and sorted(_FILLED.findall(text)) != wanted]
    assert wrong == []


@pytest.mark.parametrize("language", CODES)
def test_what_pages_read_is_compiled_from_the_catalogue(language, tmp_path):
    compiled = tmp_path / "django.mo"
    compiled.write_bytes(messages.compiled(messages.catalogue(language)))
    stored = messages.LOCALES / language / "LC_MESSAGES" / "django.mo"
    assert _read(stored) == _read(compiled), "run script/messages"


def _texts(text):
    return [text] if isinstance(text, str) else list(text)


def _read(path):
    with path.open("rb") as file:
        found = dict(gettext.GNUTranslations(file)._catalog)
    found.pop("")  # which says with what it was made
    return found


LISTED = (
    ApiKey,
    Endpoint,
    AuditEntry,
    Attempt,
)  # what columns are called is in the catalogue: this is for what is around


class _Words(HTMLParser):
    """What a page says, but for code and what people have called things: that is marked by dir="auto"."""

    SILENT = ("script", "style", "code", "pre")
    SAID = ("title", "aria-label", "placeholder", "alt")

    def __init__(self, page):
        super().__init__()
        self.said, self._silent = [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.said += [given[name] or "" for name in self.SAID if name in given]
        self.said += [value or "" for name, value in attributes if name.startswith("data-text-")]
        if tag in VOID:
            return
        silent = (
            tag in ("script", "style", "code", "pre")
            or "dir" in given
            and tag != "html"
            or tag == "button"
            and "lang" in given
        )
        self._silent.append((tag, silent or bool(self._silent and self._silent[-1][1])))

    def handle_endtag(self, tag):
        while self._silent and self._silent.pop()[0] != tag:
            pass

    def handle_data(self, data):
        if not (self._silent and self._silent[-1][1]):
            self.said.append(data)


VOID = ("input", "meta", "link", "br", "hr", "img", "rect", "path", "circle")


def english_of(page):
    """Return the words of Latin letters; those in capitals are states and reasons as the API has them."""
    said = re.sub(r"https?://\S+|[0-9a-f-]{32,}|[a-z]+[._/-][a-z._/-]+", "", " ".join(_Words(page).said))
    words = re.findall(r"[A-Za-z][A-Za-z']+", said)
    return sorted({word for word in words if not word.isupper()} - {*NAMES.split()})


@pytest.fixture
def everything(workspace, webhook, web_socket):
    """One of what pages show, with names that are no English."""
    for endpoint in (webhook, web_socket):
        endpoint.change(name="Приём")
    workspace.name = "Наше"
    workspace.save()
    EventFilter.objects.create(workspace=workspace, name="Счета", definition={"pattern": {"type": ["ä"]}})
    record(workspace)
    end(of(webhook))
    return webhook


def test_the_consoles_pages_in_russian_have_no_english(admin_client, everything):
    delivery = of(everything).get()
    event = delivery.event
    places = [
        "/admin/",
        "/admin/queue/",
        "/event-service/live",
        f"/admin/why/?event={event.pk}&endpoint={everything.pk}",
    ]
    places += [admin_page(type(row), "change", row.pk) for row in (everything, everything.workspace, event, delivery)]
    places += [admin_page(model, "changelist") for model in LISTED]
    places += [admin_page(model, "add") for model in (ApiKey, Endpoint, EventFilter, PortalTheme)]
    places += [
        f"/admin/endpoints/workspace/{everything.workspace_id}/portal/",
        f"/admin/endpoints/endpoint/{everything.pk}/secret/",
        "/admin/password_change/",
    ]
    done = {"action": "pause", "_selected_action": [str(everything.pk)]}
    admin_client.post(admin_page(Endpoint, "changelist"), done)
    entry = AuditEntry.objects.get(operation="admin.endpoints_endpoint_changelist.pause")
    places += [admin_page(AuditEntry, "change", entry.pk)]
    places += [admin_page(Endpoint, what, everything.pk) for what in ("history", "delete")]
    found: dict[str, list[str]] = {}
    for place in places:
        answer = admin_client.get(place, **RUSSIAN)
        assert answer.status_code == 200, place
        if words := english_of(answer.content.decode()):
            found[place] = words
    assert found == {}


def test_what_is_not_there_or_not_allowed_is_said_in_the_language_of_the_page(admin_client, client, django_user_model):
    absent = admin_client.get("/admin/queue/nothing/", **RUSSIAN)
    client.force_login(django_user_model.objects.create_user("m", password="p", is_staff=True))
    refused = client.get("/admin/queue/", **RUSSIAN)
    assert (absent.status_code, refused.status_code) == (404, 403)
    assert [english_of(page.content.decode()) for page in (absent, refused)] == [[], []]
    assert ["Здесь ничего нет" in absent.content.decode(), "Вам это нельзя" in refused.content.decode()] == [True, True]
    assert 'href="/admin/"' not in client.get("/event-service/nothing").content.decode()


def test_permissions_are_named_in_the_language_of_the_page(admin_client):
    page = admin_client.get("/admin/auth/group/add/", **RUSSIAN).content.decode()
    assert "Может замыкать предохранители" in page
    assert "Может добавлять: эндпоинт" in page
    assert "Can " not in page


def test_the_portals_pages_in_russian_have_no_english(client, everything):
    rights = (PortalRight.OPERATE, PortalRight.EDIT, PortalRight.SECRETS)
    _link, token = PortalLink.issue(workspace=everything.workspace, name="Анна", rights=rights)
    first = client.get(f"{PATH}open?token={token}", **RUSSIAN)
    client.post(f"{PATH}open", {"token": token})
    home = f"{PATH}endpoints/{everything.pk}/"
    places = [
        PATH,
        home,
        f"{home}edit/",
        f"{home}secret/",
        f"{PATH}deliveries/",
        f"{PATH}deliveries/{of(everything).get().pk}/",
    ]
    pages = [first, *(client.get(place, **RUSSIAN) for place in places), client.get(f"{PATH}nowhere-?", **RUSSIAN)]
    assert {page.request["PATH_INFO"]: english_of(page.content.decode()) for page in pages[:-1]} == {
        page.request["PATH_INFO"]: [] for page in pages[:-1]
    }


def test_what_forms_refuse_is_said_in_the_language_of_the_page(client, admin_client, everything):
    given = {
        "name": "\0",
        "workspace": everything.workspace_id,
        "type": "WEB_HOOK",
        "url": "gopher://x",
        "method": "POST",
    }
    form = admin_client.post(admin_page(Endpoint, "add"), given, **RUSSIAN).context["adminform"].form
    assert form.errors["url"] == ["Адрес 'gopher://x': это не http:// и не https://."]
    _link, token = PortalLink.issue(workspace=everything.workspace, name="Анна", rights=(PortalRight.EDIT,))
    client.post(f"{PATH}open", {"token": token})
    given = {"name": "Приём", "url": "https://user@example.com/"}
    edited = client.post(f"{PATH}endpoints/{everything.pk}/edit/", given, **RUSSIAN)
    assert edited.context["form"].errors["url"] == [
        "Адрес 'https://user@example.com/': есть имя пользователя или пароль; передавайте их в заголовке."
    ]


WRONG = {
    (EventFilter, "definition", '{"pattern": {"type": 5}}'): "pattern.type: 5; нужен список значений.",
    (EventFilter, "definition", '{"pattern": {"type": [{"prefix": 5}]}}'): (
        'prefix в pattern.type: 5; нужно: строка или {"equals-ignore-case": "текст"}.'
    ),
    (EventType, "schema", '{"minimum": "a"}'): 'schema.minimum: "a" — это не тип number.',
    (EventType, "schema", '{"$ref": "#/a"}'): 'schema.$ref: "#/a" никуда не ведёт.',
    (Endpoint, "retry_policy", '{"jitter": 2}'): "retryPolicy.jitter: 2 — нужно float <= 1.0.",
    (Endpoint, "retry_policy", '{"speed": 1}'): "retryPolicy: {'speed': 1} — в объекте неизвестное поле speed.",
}


@pytest.mark.parametrize(("model", "field", "given"), WRONG)
def test_what_is_no_definition_schema_or_policy_is_said_in_the_language_of_the_page(
    admin_client, workspace, model, field, given
):
    form = {"name": "n", "workspace": workspace.pk, "type": "WEB_HOOK", "url": "https://example.com/", "method": "POST"}
    form["enforcement"] = "OFF"
    page = admin_client.post(admin_page(model, "add"), {**form, field: given}, **RUSSIAN)
    assert page.context["adminform"].form.errors[field] == [WRONG[model, field, given]]


def test_a_language_is_chosen_on_a_page_and_kept(client, webhook):
    first = client.get("/admin/login/").content.decode()
    assert '<html lang="en"' in first
    answer = client.post("/event-service/language", {"language": "ru", "next": "/admin/login/"})
    assert answer["Location"] == "/admin/login/"
    chosen = client.get("/admin/login/")
    assert '<html lang="ru" dir="ltr"' in chosen.content.decode()
    assert chosen["Content-Language"] == "ru"
    assert "Войти" in chosen.content.decode()


def test_programs_are_told_in_english(client, graphql, webhook):
    client.cookies[settings.LANGUAGE_COOKIE_NAME] = "ru"
    refused = graphql("query ($id: UUID!) { endpoint(id: $id) { name } }", id="00000000-0000-0000-0000-000000000000")
    assert not re.search("[а-я]", str(refused))
    create = 'mutation { createWebhookEndpoint(name: "n", url: "gopher://x") { id } }'
    assert graphql(create)["errors"][0]["message"] == "url 'gopher://x' is not http:// or https://."
    assert client.get("/event-service/graphql", **RUSSIAN).get("Content-Language") is None

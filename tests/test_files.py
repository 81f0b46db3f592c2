"""Static files: straight from the packages, and in pieces."""

import pytest
import requests

FILES = "/event-service/static"
BIG = f"{FILES}/graphene_django_graphiql_static/graphiql.min.js"


@pytest.fixture
def ask(web):
    return lambda path, method="GET", **headers: requests.request(
        method, f"http://127.0.0.1:{web.port}{path}", headers=headers, timeout=20
    )


def test_a_file_comes_whole_with_its_type(ask):
    answer = ask(BIG)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, 'text/javascript; charset="utf-8"')
    assert len(answer.content) == int(answer.headers["Content-Length"]) > 10 * (1 << 16)


def test_who_has_a_file_is_not_sent_it_again(ask):
    known = ask(BIG).headers["Last-Modified"]
    answer = ask(BIG, **{"If-Modified-Since": known})
    assert (answer.status_code, answer.content) == (304, b"")


def test_a_part_of_a_file_may_be_asked_for(ask):
    answer = ask(BIG, Range="bytes=65530-65545")
    assert (answer.status_code, answer.content) == (206, ask(BIG).content[65530:65546])


def test_a_file_is_asked_for_by_get_or_head(ask):
    head = ask(BIG, "HEAD")
    assert (head.status_code, head.content) == (200, b"")
    assert ask(BIG, "POST").status_code == 405


@pytest.mark.parametrize("path", ["/", "", "/nothing.js", "/../settings.py", "/%2e%2e/settings.py", "/routing/"])
def test_what_is_no_file_of_ours_is_not_there(ask, path):
    assert ask(FILES + path).status_code == 404

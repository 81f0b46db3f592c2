"""Pages for people are in the language of who looks at them; what programs are told is in English."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.utils import translation
from django.utils.cache import patch_vary_headers

from event_service.charged import CHARGED

CHOICE = "/event-service/language"  # where a language is chosen; the choice is a cookie


class Language:
    """Middleware: the language that was chosen, or else what the browser asks for."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not request.path.startswith((*CHARGED, CHOICE)):
            with translation.override(settings.LANGUAGE_CODE):
                return self._get_response(request)
        language = translation.get_language_from_request(request)
        with translation.override(language):
            answer = self._get_response(request)
        patch_vary_headers(answer, ("Accept-Language", "Cookie"))
        answer.headers.setdefault("Content-Language", language)
        return answer

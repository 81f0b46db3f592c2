"""What there is to find and to break: made by a process of its own, `python -m fuzz.world`."""

import json
import os
import secrets
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class World:
    key: str
    socket: str  # an endpoint of websockets that stays
    ids: dict[str, str]  # by type, of what may be changed and deleted
    session: str  # of the operator
    operator: str
    secret: dict[str, str]  # what nobody may read, by what it is
    foreign: dict[str, str]  # what nobody may read but operators

    @classmethod
    def parse(cls, text: str) -> "World":
        return cls(**json.loads(text))


def marker(name: str) -> str:
    return f"planted-{name.replace(' ', '-')}-{secrets.token_hex(8)}"


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "event_service.settings")
    import django

    django.setup()
    from django.db import transaction

    with transaction.atomic():
        print(json.dumps(asdict(_made())))


def _made() -> World:
    from django.conf import settings

    foreign_secret, foreign = _foreign()
    workspace, key = _workspace("Ours")
    socket = _web_socket(workspace, "stays")
    ids, header = _expendable(workspace)
    operator, session, password = _operator()
    files = {"secret key": settings.SECRET_KEY, "sealing key": settings.SEALING_KEYS[0]}
    hidden = {**files, "header": header, "password": password, "key": key, **foreign_secret}
    return World(key, socket, ids, session, operator, hidden, foreign)


def _workspace(name: str) -> tuple[Any, str]:
    from endpoints.models import ApiKey, Scope, Workspace

    workspace = Workspace.objects.create(name=name)
    return workspace, ApiKey.issue(workspace=workspace, name="fuzz", scopes=Scope.values)[1]


def _web_socket(workspace: Any, name: str) -> str:
    from endpoints.models import Endpoint

    return str(Endpoint.create_web_socket(workspace_id=workspace.pk, name=name).pk)


def _expendable(workspace: Any) -> tuple[dict[str, str], str]:
    from endpoints.models import EventFilter

    header = marker("header")
    webhook = _webhook(workspace, headers={"X-Secret": header})
    wanted = EventFilter.create(
        workspace_id=workspace.pk, name="f", definition={"pattern": {"type": ["order.paid"]}}, endpoints=[webhook]
    )
    event = _event(workspace, '{"total": 1.00}')
    return {"endpoint": str(webhook.pk), "filter": str(wanted.pk), "event": event}, header


def _webhook(workspace: Any, **settings: Any) -> Any:
    from endpoints.models import Endpoint

    return Endpoint.create_webhook(
        workspace_id=workspace.pk, name=marker("hook"), url="http://127.0.0.1:9/", **settings
    )


def _event(workspace: Any, data: str) -> str:
    import msgspec

    from routing.models import Event
    from routing.submissions import Submission, check

    submission = Submission(type="order.paid", data=msgspec.Raw(data.encode()))
    recorded: Any = Event.record_all([check(submission, workspace.pk)])
    return str(recorded[0].id)


def _foreign() -> tuple[dict[str, str], dict[str, str]]:
    """Make a workspace of somebody else; return its secrets, and what an operator sees of it."""
    workspace, key = _workspace(marker("workspace"))
    webhook = _webhook(workspace)
    data = marker("data")
    _event(workspace, json.dumps({"value": data}))
    secret = {"foreign key": key, "foreign signing secret": webhook.secret.removeprefix("whsec_")}
    return secret, {"foreign workspace": workspace.name, "foreign endpoint": webhook.name, "foreign data": data}


def _operator() -> tuple[str, str, str]:
    """Return the id of an administrator, a session and the password."""
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
    from django.contrib.sessions.backends.db import SessionStore

    password = marker("password")
    user = get_user_model().objects.create_superuser("operator", "", password)
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    return str(user.pk), str(session.session_key), password


if __name__ == "__main__":
    main()

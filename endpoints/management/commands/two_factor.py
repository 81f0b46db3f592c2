from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import CommandError, CommandParser
from django.db import transaction
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from endpoints.audit import AuditedCommand, note

CODES = 10
_MADE = """\
What {user} had before is void. This is shown once; for an authenticator app:

    {url}

Recovery codes, each of which takes the place of the app once:

    {codes}
"""


class Command(AuditedCommand):
    help = "Give a user of the admin a second factor, in place of any that they had; or take it away with --remove."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--remove", action="store_true", help="take it away, and give no other")

    @transaction.atomic
    def handle(self, *args: Any, username: str, remove: bool, **options: Any) -> None:
        user = get_user_model().objects.filter(username=username).first()
        if user is None:
            raise CommandError(f"There is no user {username!r}.")
        for kind in (TOTPDevice, StaticDevice):
            kind.objects.filter(user=user).delete()
        note("User", [user.pk], None, two_factor="removed" if remove else "given")
        if remove:
            self.tell(f"{username} has no second factor now.", username=username, removed=True)
        else:
            self._give(user)

    def _give(self, user: Any) -> None:
        url, codes = _made(user)
        text = _MADE.format(user=user.get_username(), url=url, codes="\n    ".join(codes))
        self.tell(text, username=user.get_username(), url=url, codes=codes)


def _made(user: Any) -> tuple[str, list[str]]:
    app = TOTPDevice.objects.create(user=user, name="app")
    recovery = StaticDevice.objects.create(user=user, name="recovery")
    codes = [StaticToken.random_token() + StaticToken.random_token() for _ in range(CODES)]
    StaticToken.objects.bulk_create(StaticToken(device=recovery, token=code) for code in codes)
    return app.config_url, codes

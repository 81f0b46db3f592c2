from argparse import ArgumentParser
from shlex import quote
from typing import Any

from endpoints.models import Endpoint, Workspace
from endpoints.telling import TellingCommand

# Django completes commands and options, where it is asked so; names are asked for where a command takes one.
_SCRIPT = """\
_event_service() {
    local word=${COMP_WORDS[COMP_CWORD]} kind= name
    COMPREPLY=()
    if [[ $COMP_CWORD == 2 && $word != -* ]]; then
        case ${COMP_WORDS[1]} in
            apply | create_key | export) kind=workspaces ;;
            listen) kind=endpoints ;;
        esac
    fi
    if [[ -n $kind ]]; then
        while IFS= read -r name; do
            [[ $name == "$word"* ]] && COMPREPLY+=("$name")
        done < <("$1" completion --names "$kind" 2>/dev/null)
    else
        COMPREPLY=($(COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD DJANGO_AUTO_COMPLETE=1 "$1" 2>/dev/null))
    fi
}
complete -o default -F _event_service manage.py ./manage.py event-service
"""


class Command(TellingCommand):
    help = 'Print what completes commands, options, workspaces and endpoints in bash: eval "$(manage.py completion)".'

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--names", choices=["workspaces", "endpoints"], help="print these instead, a line each")

    def handle(self, *args: Any, **options: Any) -> None:
        kind = options["names"]
        if kind is None:
            self.tell(_SCRIPT, script=_SCRIPT)
            return
        for name in _names(kind):
            self.tell(quote(name), name=name)


def _names(kind: str) -> list[str]:
    """Return names of workspaces; of endpoints that can be listened to, ids."""
    if kind == "workspaces":
        return list(Workspace.objects.order_by("name").values_list("name", flat=True))
    sockets = Endpoint.objects.live().filter(type=Endpoint.Type.WEB_SOCKET).order_by("name", "pk")
    return [str(pk) for pk in sockets.values_list("pk", flat=True)]

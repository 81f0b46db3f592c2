"""The next release comes while the one before it serves, takes its place, and gives it back: nothing is lost.

`python -m chaos.upgrading` has a next release made of this checkout: with another column in the tables of traffic and
configuration. With a REVISION of git that one is the release before, and this checkout the next.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import requests

from chaos import figures, ledger
from chaos.accounting import account
from chaos.database import wait_for
from chaos.figures import at_most, figure, say
from chaos.judge import judge
from chaos.publisher import Publisher
from chaos.receiver import Receiver
from chaos.service import Service
from chaos.watch import Watch
from chaos.world import ROOT

RATE = 30.0
EACH_S = 8  # of each state
ACCEPTED_WITHIN_S = 2.0
# App, module and model of the tables that the next release adds a column to.
ADDED = (("routing", "events", "Event"), ("routing", "deliveries", "Delivery"), ("endpoints", "endpoints", "Endpoint"))
_FIELD = 'models.TextField(blank=True, default="", db_default="")'
_MIGRATION = f"""
from django.db import migrations, models

class Migration(migrations.Migration):
    dependencies = [("{{app}}", "{{last}}")]
    operations = [migrations.AddField("{{model}}", "added", {_FIELD})]
"""
_STEPS = "SELECT count(*) FROM django_migrations"


def run(folder: Path, _: float = 0) -> None:
    """Upgrade from this checkout to a next release that is made of it."""
    upgrade(folder, before=ROOT, after=_next(folder / "next"))


def upgrade(folder: Path, *, before: Path, after: Path) -> None:
    old, new = (_service(folder, root) for root in (before, after))
    with ExitStack() as stack:
        receiver = Receiver(folder / "received")
        stack.callback(receiver.stop)
        stack.callback(old.kill_everything)  # of this DATA_DIR: the other's too
        world = old.prepare(receiver.url, workspaces=4)
        receiver.tell(secrets=world.secrets)
        old.start()
        publisher = Publisher(folder, urls=[old.url, new.url], keys=world.workspaces, rate=RATE)
        stack.callback(publisher.kill)
        with Watch(old) as watch:
            _turn(old, new)
            publisher.finish(within_s=ACCEPTED_WITHIN_S * 10)
            wait_for("everything to be final", old.is_final)
        figure("violations of conservation", watch.violations, 0)
        figure("seconds until an event was accepted", _accepted_within_s(folder), ACCEPTED_WITHIN_S, at_most)
        judge(old, account(folder))


def _turn(old: Service, new: Service) -> None:
    time.sleep(EACH_S)
    ((steps,),) = old.ask(_STEPS)
    started = time.monotonic()
    new.run("manage.py", "migrate", "--verbosity", "0")
    ((after,),) = old.ask(_STEPS)
    say(f"  {after - steps} migrations in {time.monotonic() - started:.1f} s, beside the release before")
    _go_on("the release before on the new tables", old)
    new.start()
    _go_on("both", old, new)
    figure("exit code of the release before", old.drain(), 0)
    _go_on("the next", new)
    old.start()
    _go_on("both again", old, new)
    figure("exit code of the next release", new.drain(), 0)
    _go_on("the release before again", old)


def _go_on(state: str, *serving: Service) -> None:
    time.sleep(EACH_S)
    ready = [requests.get(f"{service.url}/readyz", timeout=10).status_code for service in serving]
    figure(f"ready: {state}", ready, [200] * len(serving))


def _service(folder: Path, root: Path) -> Service:
    return Service(folder / "data", web=1, workers=1, environment={}, root=root)


def _accepted_within_s(folder: Path) -> float:
    sent = {line["n"]: line["at"] for line in ledger.read(folder / "sent")}
    return max(float(line["at"] - sent[line["n"]]) for line in ledger.read(folder / "accepted"))


def _next(folder: Path) -> Path:
    """Make a next release of this checkout."""
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".*", "var", "__pycache__", "node_modules"))
    for number, (app, module, model) in enumerate(ADDED):
        with (folder / app / "models" / f"{module}.py").open("a") as file:
            file.write(f'\n{model}.add_to_class("added", {_FIELD})\n')
        migrations = folder / app / "migrations"
        *_, last = sorted(path.stem for path in migrations.glob("[0-9]*.py"))
        text = _MIGRATION.format(app=app, last=last, model=model.lower())
        (migrations / f"1{number:03}_next.py").write_text(text)
    return folder


def _checked_out(revision: str, folder: Path) -> Path:
    folder.mkdir()
    archive = subprocess.run(["git", "archive", revision], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive, check=True)
    return folder


def main(revisions: list[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="upgrade-", dir="/tmp", ignore_cleanup_errors=True) as made:
        folder = Path(made)
        folder.chmod(0o711)  # started by root, PostgreSQL runs as another user
        if revisions:
            upgrade(folder, before=_checked_out(revisions[0], folder / "before"), after=ROOT)
        else:
            run(folder)
    if broken := figures.broken():
        sys.exit(f"Not as it must be: {', '.join(broken)}")


if __name__ == "__main__":
    main(sys.argv[1:])

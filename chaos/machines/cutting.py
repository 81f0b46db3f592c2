"""A machine is cut off under load: the others go on as before, and nothing is lost or settled twice."""

import time
from collections.abc import Sequence

from chaos.accounting import account
from chaos.database import wait_for
from chaos.figures import at_least, at_most, figure, say
from chaos.judge import judge
from chaos.listener import PATIENCE_S, Listener
from chaos.machines.cluster import Cluster
from chaos.machines.measuring import Stretch, Took, accepted_within_s, stretch, took, waited_s
from chaos.publisher import TIMEOUT_S
from chaos.watch import Watch

RATE = 15.0  # events a second, to three webhooks each
HELD_S = 0.8  # before a receiver answers while the cable is pulled: something is on its way
THREADS = 8
START_S = 10  # is no measure
WHOLE_S = 40  # with all machines, before and after
LEASE_S = 60
ARRIVED_S = 3  # what was published with all machines has come, before one is cut off with what it holds
WORKER_CUT_S = LEASE_S + 20
WEB_CUT_S = 40
AT_WORK_S = 30  # after which a machine that is plugged in again works
# Of the p99 with all machines, before or after, since other work on the machine comes and goes; or more by ALLOWED_MS.
ALLOWED = 1.5
ALLOWED_MS = 50.0
STALE = "results came after their lease"
_LOST = "SELECT count(*) FROM routing_attempt WHERE error = 'WORKER_LOST'"


def cut_off(here: Cluster) -> None:
    listeners = here.listeners()
    here.receiver.tell(delay_s=0)
    with Watch(here.database) as watch, here.working(here.workers, threads=THREADS):
        for listener in listeners:
            listener.start()
        with here.publishing(RATE):
            time.sleep(START_S)
            before = _whole("all machines at work")
            time.sleep(ARRIVED_S)
            cuts = [_cut_worker(here), _cut_web(here, listeners[0])]
            after = _whole("all machines at work again")
        wait_for("everything to be final", here.database.is_final)
    _tell_times(here, whole=[before, after], cuts=cuts)
    socket_events = _tell_sockets(listeners)
    figure("violations of conservation", watch.violations, 0)
    judge(here.database, account(here.folder), besides=socket_events)


def _whole(name: str) -> Stretch:
    with stretch(name) as whole:
        time.sleep(WHOLE_S)
    return whole


def _cut_worker(here: Cluster) -> Stretch:
    """Cut one off for longer than its lease, and have it work again."""
    worker = here.workers[0]
    here.receiver.tell(delay_s=HELD_S)
    wait_for("the worker to send something", lambda: here.is_sending(worker, within_s=HELD_S / 4))
    worker.machine.cut_off()
    cut_at = time.time()
    here.receiver.tell(delay_s=0)
    time.sleep(2 * HELD_S)  # what the others had on its way
    with stretch("one worker's machine cut off") as cut:
        time.sleep(WORKER_CUT_S)
    worker.machine.plug_in()
    plugged_in = time.monotonic()
    wait_for("the worker to work again", lambda: here.has_sent(worker, since=cut.until), within_s=1_200)
    figure("seconds until the worker that was cut off worked again", time.monotonic() - plugged_in, AT_WORK_S, at_most)
    waited = waited_s(here.folder, cut_at)
    figure("seconds that its deliveries waited", waited, LEASE_S + 10, at_most)
    figure("leases that ended", here.database.ask(_LOST)[0][0], 1, at_least)
    wait_for("what it has to say after its lease to be refused", lambda: STALE in worker.log.read_text())
    return cut


def _cut_web(here: Cluster, listener: Listener) -> Stretch:
    """Cut one off: its producers and its websocket clients go to the other."""
    web = here.webs[0]
    web.machine.cut_off()
    with stretch("one web machine cut off") as cut:
        time.sleep(0.5)
        had = len(listener.numbers)
        wait_for("the client of the machine that was cut off", lambda: len(listener.numbers) > had)
        figure("seconds until its websocket client went on", time.time() - cut.since, 3 * PATIENCE_S, at_most)
        time.sleep(max(0.0, cut.since + WEB_CUT_S - time.time()))
    web.machine.plug_in()
    plugged_in = time.monotonic()
    wait_for("the machine to be ready again", lambda: here.is_ready(web))
    figure("seconds until the web machine was ready again", time.monotonic() - plugged_in, AT_WORK_S, at_most)
    return cut


def _tell_times(here: Cluster, *, whole: Sequence[Stretch], cuts: Sequence[Stretch]) -> None:
    p99 = max(_tell(here, when).p99 for when in whole)
    allowed = round(max(ALLOWED * p99, p99 + ALLOWED_MS))
    for when in cuts:
        figure(f"p99 of the others' deliveries in ms, {when.name}", _tell(here, when).p99, allowed, at_most)
    accepted_s = accepted_within_s(here.folder, cuts[-1])
    figure("seconds until the last producer was answered by the other", accepted_s, 2 * TIMEOUT_S, at_most)


def _tell(here: Cluster, when: Stretch) -> Took:
    found = took(here.folder, when)
    say(f"  {when.name}: {found.count} deliveries; p50 {found.p50:.0f}, p99 {found.p99:.0f}, all {found.worst:.0f} ms")
    return found


def _tell_sockets(listeners: Sequence[Listener]) -> int:
    """Return how many deliveries the clients' endpoints have."""
    names = {name for listener in listeners for name in listener.names}
    for listener in listeners:
        listener.end()
        wanted = [*range(1, len(names) + 1)]
        figure("numbers by websocket in order, none missing and none twice", listener.numbers == wanted, True)
        figure("resets", listener.resets, [])
    return len(names) * len(listeners)

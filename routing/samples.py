"""A sample event, sent at once for somebody who wants to see what comes of it."""

import threading
from contextlib import closing
from dataclasses import replace
from typing import NamedTuple

import msgspec
from django.db import connection
from django.utils.translation import gettext as _

from endpoints.errors import BadInput, Limited
from endpoints.models import Endpoint
from endpoints.policy import RetryPolicy
from endpoints.tenancy import within
from routing.egress import Door
from routing.health import SOURCE
from routing.models import Attempt
from routing.queue import settle
from routing.queue.sample import lease_sample
from routing.submissions import Submission, check
from routing.verdict import verdict
from routing.webhooks import content, deliver

AT_ONCE = 8  # in one process: each holds up a thread of the web server
TYPE, DATA = "test.ping", b'{"test":true}'
_room = threading.BoundedSemaphore(AT_ONCE)


class Sample(NamedTuple):
    """What came of it, and the body that was sent."""

    attempt: Attempt
    body: bytes


def send_sample(endpoint: Endpoint, *, type: str, data: bytes = DATA) -> Sample:
    """Send an event to `endpoint` alone, whatever its state, its filters and limits, and return the one attempt.

    The answer counts like any other. Raises BadInput for a websocket, a bad type or bad data, and Limited.
    """
    if endpoint.type != Endpoint.Type.WEB_HOOK:
        said = _("Endpoint %(id)s is a websocket; only webhooks can be tested.")
        raise BadInput(said % {"id": endpoint.pk}, "id")
    if not _room.acquire(blocking=False):
        raise Limited(_("%(most)s tests are running; try again when one has ended.") % {"most": AT_ONCE})
    try:
        return _send(endpoint, type, data)
    finally:
        _room.release()


def _send(endpoint: Endpoint, type: str, data: bytes) -> Sample:
    submission = Submission(type=type, source=SOURCE, subject=str(endpoint.pk), data=msgspec.Raw(data))
    with within(endpoint.workspace_id):
        job = lease_sample(check(submission, endpoint.workspace_id), endpoint.pk)
    connection.close()  # back to the pool: none is held while the request is on the wire
    policy = replace(RetryPolicy.kept(job.target.retry_policy), waits_s=())  # it is not tried again
    with closing(Door()) as door:
        outcome = deliver(job, door, now=job.claimed_at, deadline_s=policy.deadline_s)
    settle([verdict(job, outcome, policy)])  # as a worker does, who works for everybody
    body, _ = content(job)
    with within(endpoint.workspace_id):
        return Sample(Attempt.objects.filter(delivery_id=job.delivery_id).latest("number"), body)

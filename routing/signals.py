"""The service's only custom signal."""

from django.dispatch import Signal

# Sent by Event.recording, once for each batch of new events and inside the transaction that stores them, with
# `events` (their rows, in order). A receiver returns None, or what else this transaction has to say, as a plan (see
# plans.py). One that raises undoes the whole batch: what an event is owed is recorded with it, or the event is not
# accepted.
events_recorded = Signal()

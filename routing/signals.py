"""The service's only custom signal."""

from django.dispatch import Signal

# Sent by Event.record_all, once for each batch of new events and inside the transaction that stores them, with
# `events` (their rows, in order). A receiver that raises undoes the whole batch: what an event is owed is
# recorded with it, or the event is not accepted.
events_recorded = Signal()

"""What each process measures of itself, for Prometheus: it forgets it when it ends. What holds for the whole
installation is asked of the database: see totals.py."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.process_collector import ProcessCollector

OF_PROCESS = CollectorRegistry()
ProcessCollector(registry=OF_PROCESS)
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_QUICK = (0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.1, 1)


def _counter(name: str, text: str, *labels: str) -> Counter:
    return Counter(f"event_service_{name}", text, labels, registry=OF_PROCESS)


def _gauge(name: str, text: str) -> Gauge:
    return Gauge(f"event_service_{name}", text, registry=OF_PROCESS)


def _histogram(name: str, text: str, buckets: tuple[float, ...] = _SECONDS) -> Histogram:
    return Histogram(f"event_service_{name}", text, registry=OF_PROCESS, buckets=buckets)


# --- the event door
ingest_requests = _counter("ingest_requests", "Requests to the event door, by the status of the answer.", "status")
ingest_events = _counter("ingest_events", "Events that these held: accepted, duplicate or refused.", "outcome")
ingest_seconds = _histogram("ingest_seconds", "From the first look at a request to its answer.")
ingest_waiting = _gauge("ingest_waiting_requests", "Requests that wait for the next group commit.")
commit_seconds = _histogram("commit_seconds", "Transactions of the event door, from BEGIN to COMMIT.")
match_seconds = _histogram("match_seconds", "Finding who wants the events of a transaction.", _QUICK)
matched = _counter("matched_deliveries", "Deliveries that came of it.")
# --- buses
bus_messages = _counter("bus_messages", "Messages of a bus: taken, repeated, refused, or postponed.", "bus", "outcome")
# --- websockets
open_sockets = _gauge("process_sockets", "Websockets that are open in this process.")
# --- workers
claim_seconds = _histogram("claim_seconds", "Claims of due deliveries, with or without result.")
claimed = _counter("claimed_deliveries", "Deliveries that were claimed.")
settled = _counter("settled_deliveries", "Results that workers had, by the state that the delivery goes to.", "state")
stale = _counter("stale_results", "Results that came after their lease, and were not written.")
outstanding = _gauge("worker_outstanding_deliveries", "Deliveries that are claimed and not settled.")
polled = _gauge("worker_poll_age_seconds", "Since the database last answered this worker's poll.")

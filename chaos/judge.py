"""What must hold after every run, by the ledgers and by the database."""

from chaos.accounting import Account
from chaos.database import Database
from chaos.figures import figure
from chaos.world import FAN_OUT

# Each delivery has as many attempts as it counts, and ends with its only good one.
_DISAGREEING = """
SELECT count(*) FROM routing_delivery AS delivery
LEFT JOIN LATERAL (
    SELECT count(*) AS made, max(number) AS last, count(*) FILTER (WHERE error = '') AS good,
           max(number) FILTER (WHERE error = '') AS good_number
    FROM routing_attempt WHERE delivery_id = delivery.id
) AS attempt ON true
WHERE (attempts_made, attempts_made, attempts_made, 1) IS DISTINCT FROM (made, last, good_number, good)
"""


def judge(database: Database, found: Account, *, besides: int = 0) -> None:
    """`besides`: deliveries to other endpoints than those of the world."""
    figure("lost", found.lost, 0)
    figure("unexpected", found.unexpected, 0)
    figure("misrouted or signed wrongly", found.misrouted, 0)
    figure("ids that stand for two events", found.doubled, 0)
    figure("duplicates with another webhook-id or body", found.unmarked, 0)
    figure("refused without need", found.refused, 0)
    ((events,),) = database.ask("SELECT count(*) FROM routing_event")
    figure("events in the database", events, found.accepted)
    states = dict(database.ask("SELECT state, count(*) FROM routing_delivery GROUP BY state"))
    figure("deliveries", states, {"DELIVERED": FAN_OUT * found.accepted + besides})
    ((disagreeing,),) = database.ask(_DISAGREEING)
    figure("deliveries whose attempts do not add up", disagreeing, 0)
    ((broken,),) = database.ask("SELECT count(*) FROM routing_lane WHERE in_flight <> 0")
    figure("lanes that count what is not in flight", broken, 0)

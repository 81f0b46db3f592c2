"""Jepsen's questions, asked of the ledgers: what was lost, and what came unexpected, to the wrong place, or twice."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaos import ledger
from chaos.receiver import PROCESSED
from chaos.world import World


@dataclass(frozen=True)
class Account:
    accepted: int  # events that got a 2xx
    refused: int  # answers that were neither 2xx nor 503, without need
    received: int  # requests that a receiver processed
    lost: int  # an accepted event that did not come to one of its endpoints
    unexpected: int  # requests whose event nobody sent, or whose id is not the one that the door told
    misrouted: int  # requests to a path where the event does not belong, or signed with another's secret
    doubled: int  # producer's ids that were given two event ids
    duplicates: int  # processed again, by the same endpoint
    unmarked: int  # of these, with another webhook-id or another body
    recovered: int  # accepted at a repeat, when the first answer was lost


def account(folder: Path) -> Account:
    sent = {line["n"]: line for line in ledger.read(folder / "sent")}
    told = list(ledger.read(folder / "accepted"))
    requests = list(ledger.read(folder / "received"))
    ids: dict[str, set[str]] = defaultdict(set)
    for line in told:
        if "id" in line:
            ids[line["n"]].add(line["id"])
    seen: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for request in requests:
        if request["answer"] in PROCESSED:
            seen[request["n"], request["path"]].append((request["id"], request["sha"]))
    owed = {(n, path) for n in ids for path in World.wanting(sent[n]["workspace"], sent[n]["type"])}
    return Account(
        accepted=len(ids),
        refused=sum("id" not in line for line in told),
        received=sum(map(len, seen.values())),
        lost=len(owed - seen.keys()),
        unexpected=sum(_is_unexpected(request, sent, ids) for request in requests),
        misrouted=sum(_is_misrouted(request, sent) for request in requests),
        doubled=sum(len(found) > 1 for found in ids.values()),
        duplicates=sum(len(found) - 1 for found in seen.values()),
        unmarked=sum(len(set(found)) - 1 for found in seen.values()),
        recovered=sum(line.get("duplicate", False) for line in told),
    )


def _is_unexpected(request: dict[str, Any], sent: dict[str, Any], ids: dict[str, set[str]]) -> bool:
    n = request["n"]
    return n not in sent or (n in ids and request["id"] not in ids[n])


def _is_misrouted(request: dict[str, Any], sent: dict[str, Any]) -> bool:
    event = sent.get(request["n"])
    if event is None:
        return False  # unexpected is what it is
    belongs = request["path"] in World.wanting(event["workspace"], event["type"])
    return not (belongs and request["valid"] and request["workspace"] == event["workspace"])

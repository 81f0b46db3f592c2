"""Several machines: two workers beside one; then one worker's is cut off under load, and one of the web's."""

from pathlib import Path

from chaos.figures import say
from chaos.machines.cluster import cluster
from chaos.machines.comparing import compare
from chaos.machines.cutting import cut_off


def run(folder: Path, _: float = 0) -> None:
    try:
        with cluster(folder) as here:
            compare(here)
            cut_off(here)
    except PermissionError as error:
        say(f"  skipped: it needs root, and a Linux that lets it make network namespaces ({error})")

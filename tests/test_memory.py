"""Memory that is free goes back to the system."""

import platform

import psutil
import pytest

from event_service.server import memory

MIB = 1 << 20


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no malloc_trim")
def test_what_lies_free_between_what_is_used_is_given_back():
    process = psutil.Process()
    taken = [bytes(1_000) for _ in range(64 * 1_024)]
    used = taken[::64]  # some of each page's neighbours stay
    del taken
    before = process.memory_info().rss
    memory.give_back()

    assert before - process.memory_info().rss > 32 * MIB
    assert len(used) == 1_024


def test_other_c_libraries_keep_it(monkeypatch):
    monkeypatch.setattr(memory, "_trim", None)
    memory.give_back()

"""What commands say: a text for people, or with --json a JSON document a line for programs; and how far they are."""

import json
import sys
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator
from typing import Any, TextIO, TypeVar

from django.core.management.base import BaseCommand, CommandError, CommandParser

from endpoints.errors import ServiceError

T = TypeVar("T")
BAR = 30  # characters
# Django's options, which every command has: they work as ever, and --help is about the command.
GENERAL = {"--version", "--verbosity", "--settings", "--pythonpath", "--traceback", "--no-color", "--force-color"}


class TellingCommand(BaseCommand):
    """A command that has --json, and ends with exit code 1 and the reason where the service refuses."""

    as_json = False
    suppressed_base_arguments = GENERAL

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        _add_json(parser)
        return parser

    def execute(self, *args: Any, **options: Any) -> Any:
        self.as_json = options["json"]
        try:
            return super().execute(*args, **options)
        except ServiceError as error:
            raise CommandError(error.message) from error

    def tell(self, text: str, **fields: Any) -> None:
        """Print `text`, or `fields` with --json, at once."""
        self.stdout.write(json.dumps(fields, default=str, ensure_ascii=False) if self.as_json else text)
        self.stdout.flush()


def _add_json(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON document a line, for programs")


def progress(items: Iterable[T], *, total: int, what: str, stream: TextIO | None = None) -> Iterator[T]:
    """Return the items, and draw how many of `total` have been asked for: on a terminal alone."""
    stream = sys.stderr if stream is None else stream
    if not stream.isatty():
        yield from items
        return
    draw(0, total, what, stream)
    for number, item in enumerate(items, 1):
        yield item
        if number * BAR // max(total, 1) != (number - 1) * BAR // max(total, 1):
            draw(number, total, what, stream)
    stream.write("\r\033[K")


def counted(items: Iterable[T], *, what: str, stream: TextIO | None = None) -> Iterator[T]:
    """Return the items, and tell on a terminal how many there were: for those of which nobody knows the total."""
    stream = sys.stderr if stream is None else stream
    for number, item in enumerate(items, 1):
        yield item
        if stream.isatty():
            stream.write(f"\r{number:,} {what}")
    if stream.isatty():
        stream.write("\r\033[K")


def draw(done: int, total: int, what: str, stream: TextIO) -> None:
    full = BAR if total == 0 else min(done * BAR // total, BAR)
    stream.write(f"\r{what} [{'#' * full}{'.' * (BAR - full)}] {done:,} of {total:,}")
    stream.flush()

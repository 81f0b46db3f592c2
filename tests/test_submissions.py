"""What a producer sends: taken byte for byte, or refused with the name of the field."""

import dataclasses
import sys
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import msgspec
import pytest

from endpoints.errors import BadInput
from routing import envelope
from routing.models import Event
from routing.submissions import MAX_DATA_BYTES, MAX_DEPTH, TEXT_LENGTH, Submission, check

WORKSPACE = UUID(int=1)
RAW = {
    "number with an exponent": b'{"a": 1e2}',
    "number with zeros": b"[1.00, -0.0, 0.10]",
    "number of 40 digits": b"1234567890123456789012345678901234567890",
    "duplicate keys in their order": b'{"b": 1, "a": 2, "b": 3}',
    "white space": b'{ "a" :\n\t[ 1 ,2 ] }',
    "escapes": b'"\\u00e9 \\ud83d\\ude00 \\/ \\u2028"',
    "unicode": '"é 😀 \u2028 \ufeff"'.encode(),
    "an escaped backslash before u0000": b'"\\\\u0000"',
    "the largest integer of a double": str(int(sys.float_info.max)).encode(),
    "many digits in a string": b'"%s"' % (b"9" * 400),
    "null": b"null",
    "empty string": b'""',
    "as much as fits": b'"' + b"x" * (MAX_DATA_BYTES - 2) + b'"',
    "as deep as allowed": b"[" * MAX_DEPTH + b"]" * MAX_DEPTH,
    "wide": b"[" + b"[]," * 1000 + b"[]]",
}
POISON = {
    "NUL": b'{"a": "\\u0000"}',
    "NUL in a key": b'{"a\\u0000": 1}',
    "NUL deep within": b'[[{"a": [1, "x\\u0000y"]}]]',
    "NUL as it is": b'"\0"',
    "the first half of a surrogate pair": b'"\\ud800"',
    "the second half of a surrogate pair": b'"\\udc00"',
    "surrogates in the wrong order": b'"\\udc00\\ud800"',
    "NaN": b"NaN",
    "infinity": b"[-Infinity]",
    "a number beyond all range": b"1e400000",
    "an integer beyond a double": b'{"a": [-1%s]}' % (b"0" * 309),
    "a line break in a string": b'"a\nb"',
    "bytes that are no UTF-8": b'"\xff\xfe"',
    "a surrogate in UTF-8": b'"\xed\xa0\x80"',
    "an overlong slash": b'"\xc0\xaf"',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "half an object": b'{"a": 1',
    "two values": b"{} {}",
    "single quotes": b"{'a': 1}",
    "a trailing comma": b"[1,]",
    "a leading zero": b"[01]",
    "white space alone": b" ",
    "one level too deep": b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
    "100,000 arrays in each other": b"[" * 100_000 + b"]" * 100_000,
    "100,000 objects in each other": b'{"":' * 60_000 + b"1" + b"}" * 60_000,
    "one byte too many": b'"' + b"x" * (MAX_DATA_BYTES - 1) + b'"',
}


def checked(**fields):
    return check(Submission(**{"type": "order.paid", **fields}), WORKSPACE)


def refused_field(**fields):
    with pytest.raises(BadInput) as refusal:
        checked(**fields)
    return refusal.value.field


@pytest.mark.parametrize("raw", RAW.values(), ids=RAW)
def test_data_is_stored_byte_for_byte(workspace, raw):
    submission = msgspec.json.decode(b'{"type": "order.paid", "data": ' + raw + b" }", type=Submission)

    Event.record_all([check(submission, workspace.pk)])

    assert [event.data.encode() for event in Event.objects.all()] == [raw]


@pytest.mark.parametrize("raw", POISON.values(), ids=POISON)
def test_data_that_can_not_be_kept_byte_for_byte_is_refused(raw):
    assert refused_field(data=msgspec.Raw(raw)) == "data"


def test_an_event_needs_nothing_but_a_type():
    event = checked()

    assert dataclasses.asdict(event) == {
        "id": event.id,
        "workspace_id": WORKSPACE,
        "type": "order.paid",
        "data": "",
        "value": None,
        "source": "",
        "subject": "",
        "ordering_key": "",
        "date": None,
        "producer_id": None,
        "about": None,
        "traceparent": "",
        "extensions": "",
    }
    assert event.id.version == 7


def test_filters_see_what_readers_of_the_event_get():
    bare = checked()
    full = checked(
        data=msgspec.Raw(b'{"total": 1.50}'), source="shop", subject="order/1", date="2026-11-22T12:00:00+02:00"
    )

    assert bare.fields() == {"id": str(bare.id), "type": "order.paid", "workspaceId": str(bare.workspace_id)}
    assert full.fields() == msgspec.json.decode(
        envelope.render(
            id=full.id,
            type=full.type,
            date=full.date,
            source=full.source,
            subject=full.subject,
            workspace_id=full.workspace_id,
            data=full.data,
        )
    )


@pytest.mark.parametrize(
    ("date", "written"),
    [
        (datetime(2026, 11, 22, 10, tzinfo=UTC), "2026-11-22T10:00:00.000000+00:00"),
        (datetime(2026, 11, 22, 10, 0, 0, 500, tzinfo=UTC), "2026-11-22T10:00:00.000500+00:00"),
        (datetime(5, 11, 22, 1, tzinfo=timezone(timedelta(hours=2))), "0005-11-21T23:00:00.000000+00:00"),
    ],
)
def test_dates_have_all_their_digits_and_are_in_utc(date, written):
    of_event = {"id": "", "type": "", "source": "", "subject": "", "workspace_id": "", "data": ""}
    assert msgspec.json.decode(envelope.render(**of_event, date=date))["date"] == written


def test_filters_see_null_where_data_is_null():
    assert checked(data=msgspec.Raw(b"null")).fields()["data"] is None


@pytest.mark.parametrize("field", ["type", "id", "source", "subject", "ordering_key"])
@pytest.mark.parametrize(
    "value", ["x" * TEXT_LENGTH, "é" * TEXT_LENGTH, " ", "😀"], ids=["ascii", "é", "space", "emoji"]
)
def test_text_is_taken_up_to_the_limit_in_characters(field, value):
    event = checked(**{field: value})

    assert getattr(event, "producer_id" if field == "id" else field) == value


@pytest.mark.parametrize("field", ["type", "id", "source", "subject", "orderingKey"])
@pytest.mark.parametrize(
    "value",
    ["x" * (TEXT_LENGTH + 1), "", 1, True, ["a"], {"a": 1}, "a\0", "\ud800"],
    ids=lambda value: ascii(value)[:12],
)
def test_text_of_another_kind_is_refused(field, value):
    assert refused_field(**{"ordering_key" if field == "orderingKey" else field: value}) == field


def test_a_missing_type_is_refused():
    assert refused_field(type=None) == "type"


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ("2026-11-22T10:00:00Z", datetime(2026, 11, 22, 10, tzinfo=UTC)),
        ("2026-11-22T10:00:00+05:30", datetime(2026, 11, 22, 4, 30, tzinfo=UTC)),
        ("2026-11-22T10:00:00.123456-00:00", datetime(2026, 11, 22, 10, 0, 0, 123456, tzinfo=UTC)),
        ("2026-11-22t10:00:00z", datetime(2026, 11, 22, 10, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:59.999999Z", datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
    ],
)
def test_a_date_is_kept_to_the_microsecond_whatever_its_offset(workspace, sent, meant):
    Event.record_all([check(Submission(type="order.paid", date=sent), workspace.pk)])

    assert [event.date for event in Event.objects.all()] == [meant]


@pytest.mark.parametrize(
    "value",
    [
        "2026-11-22T10:00:00",
        "2026-11-22",
        "2026-02-30T10:00:00Z",
        "2026-11-22T25:00:00Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "10000-01-01T00:00:00Z",
        "yesterday",
        "",
        1764000000,
        True,
        [],
    ],
)
def test_a_date_without_offset_or_outside_the_calendar_is_refused(value):
    assert refused_field(date=value) == "date"


def test_an_event_without_a_date_is_dated_when_it_is_recorded(workspace):
    Event.record_all([check(Submission(type="order.paid"), workspace.pk)])

    event = Event.objects.get()
    assert event.date == event.creation_date


def test_the_digest_is_that_of_the_content_alone():
    assert checked(id="a").digest() == checked(id="b").digest()


@pytest.mark.parametrize(
    "changed",
    [
        {"type": "order.refunded"},
        {"data": msgspec.Raw(b"1.0")},
        {"data": msgspec.Raw(b"")},
        {"source": "till"},
        {"subject": "2"},
        {"ordering_key": "2"},
        {"date": "2026-11-22T10:00:01Z"},
        {"date": None},
    ],
    ids=["type", "data", "no data", "source", "subject", "ordering key", "date", "no date"],
)
def test_the_digest_changes_with_every_part_of_the_content(changed):
    content = {
        "data": msgspec.Raw(b"1"),
        "source": "shop",
        "subject": "1",
        "ordering_key": "1",
        "date": "2026-11-22T10:00:00Z",
    }

    assert checked(**content).digest() != checked(**{**content, **changed}).digest()


def test_an_unknown_field_is_refused():
    with pytest.raises(msgspec.ValidationError, match="occurredAt"):
        msgspec.json.decode(b'{"type": "order.paid", "occurredAt": 1}', type=Submission)

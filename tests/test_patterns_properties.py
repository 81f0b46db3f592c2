"""Compiled patterns agree with a naive reading of the language, on patterns and events made at random.

PATTERN_PAIRS=10000 tries that many pairs instead of the 2,000 that the suite has time for.
"""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from endpoints.patterns import Index, matching, parse_pattern
from tests import naive_patterns

EVENTS_EACH = 5
PATTERNS_EACH = 5
ABSENT = {"exists": False}
FEW = 2_000
PAIRS = int(os.environ.get("PATTERN_PAIRS", FEW))

# Of operators: few values, which have much in common.
TEXTS = st.sampled_from(["", "a", "A", "ab", "aB", "ba", "aab", "ß", "SS", "a*b", "\\", "10.0.0.1", "10.0.1.0", "::1"])
NUMBERS = st.sampled_from([-1, 0, 1, 1.0, 2, 2.5, 10**30])
SCALARS = st.one_of(TEXTS, NUMBERS, st.sampled_from([True, False, None]))


def operator(name, operands):
    return st.builds(lambda operand: {name: operand}, operands)


def one_or_more(values):
    return values | st.lists(values, min_size=1, max_size=2)


def ranges(low, high):
    return st.builds(
        lambda lower, upper, bounds: [lower, min(bounds), upper, max(bounds)],
        st.sampled_from([">", ">="]),
        st.sampled_from(["<", "<="]),
        st.tuples(NUMBERS, NUMBERS).filter(lambda bounds: bounds[0] != bounds[1]),
    )


IGNORING_CASE = operator("equals-ignore-case", TEXTS)
WILDCARDS = st.sampled_from(["*", "a*", "*b", "a*b", "*a*", "a*a*b", "*a*b*", r"a\**", r"\\*", "ab", "10.*.1"])
NOT_EMPTY = TEXTS.filter(bool)
CONDITIONS = st.one_of(
    SCALARS,
    operator("prefix", TEXTS | IGNORING_CASE),
    operator("suffix", TEXTS | IGNORING_CASE),
    IGNORING_CASE,
    operator("wildcard", WILDCARDS),
    operator("exists", st.booleans()),
    operator("cidr", st.sampled_from(["10.0.0.0/24", "10.0.0.0/15", "10.0.0.1/32", "::/0", "0.0.0.0/0"])),
    operator("numeric", st.tuples(st.sampled_from(["=", "<", "<=", ">", ">="]), NUMBERS).map(list)),
    operator("numeric", ranges(NUMBERS, NUMBERS)),
    operator(
        "anything-but",
        st.one_of(
            one_or_more(TEXTS),
            one_or_more(NUMBERS),
            operator("prefix", one_or_more(NOT_EMPTY)),
            operator("suffix", one_or_more(NOT_EMPTY)),
            operator("equals-ignore-case", one_or_more(TEXTS)),
            operator("wildcard", one_or_more(WILDCARDS)),
        ),
    ),
)
# Of structure: the operators are few, so that what is chosen at random matches often.
NAMES = st.sampled_from(["a", "b"])
FEW_SCALARS = st.sampled_from(["a", "b", 1, None])
FEW_CONDITIONS = st.sampled_from(
    ["a", 1, {"prefix": ""}, {"exists": True}, {"exists": False}, {"anything-but": "a"}, {"numeric": [">", 0]}]
)
MEMBERS = FEW_SCALARS | st.lists(FEW_SCALARS, max_size=2)
FLAT = st.dictionaries(NAMES, MEMBERS, max_size=2)
ARRAYS = st.lists(FLAT | FEW_SCALARS, min_size=1, max_size=3)
DEEP = st.dictionaries(NAMES, MEMBERS | FLAT | ARRAYS | st.lists(ARRAYS, max_size=2), max_size=2)
DATA = FEW_SCALARS | DEEP | st.lists(DEEP, min_size=1, max_size=3)
EVENTS = st.fixed_dictionaries({"data": DATA}, optional={"type": FEW_SCALARS})


def with_or(objects):
    """Return objects that may have a $or beside their members, or instead of them."""
    branches = st.lists(objects, min_size=2, max_size=2)
    both = st.builds(lambda members, found: {**members, "$or": found}, objects, branches)
    return st.one_of(objects, branches.map(lambda found: {"$or": found}), both)


LISTS = st.lists(FEW_CONDITIONS, min_size=1, max_size=2)
FLAT_PATTERNS = st.dictionaries(NAMES, LISTS, min_size=1, max_size=2)
DEEP_PATTERNS = st.dictionaries(NAMES, LISTS | FLAT_PATTERNS, min_size=1, max_size=2)
IN_DEPTH = st.dictionaries(NAMES, LISTS | with_or(FLAT_PATTERNS), min_size=1, max_size=2)
DATA_PATTERNS = LISTS | with_or(DEEP_PATTERNS) | with_or(IN_DEPTH)
PATTERNS = st.fixed_dictionaries({"data": DATA_PATTERNS}, optional={"type": LISTS})
OR_AT_THE_ROOT = with_or(
    st.fixed_dictionaries({}, optional={"data": LISTS | DEEP_PATTERNS, "type": LISTS}).filter(bool)
)

# A path both beside and within a $or, and arrays of objects that have one member in common.
ONES = st.lists(st.dictionaries(NAMES, MEMBERS | FLAT, min_size=1, max_size=1), min_size=2, max_size=4)
SAME_PATH = st.builds(
    lambda beside, within, other: {"data": {"a": beside, "$or": [{"a": within}, {"b": other}]}},
    LISTS | FLAT_PATTERNS,
    LISTS | FLAT_PATTERNS,
    LISTS,
)


def tries(examples):
    return settings(
        max_examples=examples, deadline=None, derandomize=PAIRS == FEW, suppress_health_check=list(HealthCheck)
    )


@tries(PAIRS // 50)
@given(st.lists(CONDITIONS, min_size=10, max_size=10), st.lists(SCALARS, min_size=10, max_size=10))
def test_a_condition_holds_on_the_values_that_it_says(arrays, conditions, values):
    def held(holds):
        return [(condition, value) for condition in conditions for value in values if holds(condition, value)]

    assert held(lambda condition, value: parse_pattern({"data": [condition]}).match({"data": [value]})) == held(
        lambda condition, value: condition != ABSENT and naive_patterns.holds(condition, value)
    )


@pytest.fixture(params=[0, matching.MANY], ids=["as many", "as few"], scope="module")
def arrays(request):
    """Let arrays be matched as big ones are, and as small ones are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matching, "MANY", request.param)
        yield


@pytest.mark.usefixtures("arrays")
@tries(PAIRS // EVENTS_EACH)
@given(PATTERNS | OR_AT_THE_ROOT, st.lists(EVENTS, min_size=EVENTS_EACH, max_size=EVENTS_EACH))
def test_a_compiled_pattern_matches_what_it_says(pattern, events):
    compiled = parse_pattern(pattern)

    assert [compiled.match(event) for event in events] == [naive_patterns.matches(pattern, event) for event in events]


@pytest.mark.usefixtures("arrays")
@tries(PAIRS // EVENTS_EACH)
@given(SAME_PATH, st.lists(ONES, min_size=EVENTS_EACH, max_size=EVENTS_EACH))
def test_one_element_must_do_for_a_path_beside_and_within_an_or(pattern, arrays_of_objects):
    compiled = parse_pattern(pattern)
    events = [{"data": array} for array in arrays_of_objects]

    assert [compiled.match(event) for event in events] == [naive_patterns.matches(pattern, event) for event in events]


@pytest.mark.parametrize("together", [1, 1_000], ids=["together", "one by one"])
@tries(PAIRS // (EVENTS_EACH * PATTERNS_EACH))
@given(
    st.lists(PATTERNS | OR_AT_THE_ROOT, min_size=PATTERNS_EACH, max_size=PATTERNS_EACH),
    st.lists(EVENTS, min_size=EVENTS_EACH, max_size=EVENTS_EACH),
)
def test_an_index_finds_the_patterns_that_match_and_no_others(together, patterns, events):
    parsed = [(parse_pattern(pattern), number) for number, pattern in enumerate(patterns)]
    index = Index(parsed, together=together)

    assert [sorted(index.matching(event)) for event in events] == [
        [number for number, pattern in enumerate(patterns) if naive_patterns.matches(pattern, event)]
        for event in events
    ]


@tries(PAIRS // 100)
@given(st.lists(CONDITIONS, min_size=20, max_size=20), st.lists(SCALARS, min_size=5, max_size=5))
def test_an_index_finds_the_conditions_that_hold(conditions, values):
    index = Index([(parse_pattern({"data": {"a": [condition]}}), n) for n, condition in enumerate(conditions)])

    assert [sorted(index.matching({"data": {"a": value}})) for value in values] == [
        [n for n, condition in enumerate(conditions) if condition != ABSENT and naive_patterns.holds(condition, value)]
        for value in values
    ]

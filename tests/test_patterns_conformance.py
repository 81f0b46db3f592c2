"""The filter language against what AWS documents of it, case by case: docs/filters.md lists what differs, with reasons.

Everything is JSON text and read as events are, so that 1, 1.0 and 1e0 are what a producer wrote.
"""

import msgspec
import pytest

from endpoints.patterns import parse_pattern

ABSENT = "(absent)"

# The list of a field; the values of the field that it matches; the values that it does not.
LISTS = [
    # Exact values.
    ('["a"]', ['"a"', '["a"]', '["b", "a"]'], ['"A"', '"ab"', '""', '" a"', "1", "null", "[]", "{}", '{"a": "a"}']),
    ('["a", "b"]', ['"a"', '"b"', '["c", "b"]'], ['"c"', '"a, b"', '["c"]']),
    ('[""]', ['""', '["", "a"]'], ['"a"', '" "', "null", "[]", "{}", "0", "false", ABSENT]),
    ('["1"]', ['"1"'], ["1", "1.0", "true"]),
    ('["é"]', ['"é"', '"\\u00e9"'], ['"e\\u0301"', '"É"', '"e"']),
    ("[1]", ["1", "1.0", "1e0", "10e-1", "0.1e1", "[0, 1]"], ['"1"', "true", "1.0000001", "0", "-1", "null", ABSENT]),
    ("[1.0]", ["1", "1.0", "1e0"], ['"1.0"', "true", "1.1"]),
    ("[1e0]", ["1", "1.0", "1e0"], ['"1e0"', "10"]),
    ("[0]", ["0", "-0", "0.0", "0e5"], ["false", '""', "null", '"0"', "[]", ABSENT]),
    ("[-0.5]", ["-0.5", "-5e-1"], ["0.5", "-0.50001"]),
    ("[0.1]", ["0.1", "1e-1"], ["0.10000000000000001e1", "0.11"]),
    ("[5000000001]", ["5000000001", "5.000000001e9"], ["5000000000", "5000000002"]),
    ("[9007199254740993]", ["9007199254740993"], ["9007199254740992", "9007199254740994"]),
    ("[true]", ["true", "[false, true]", "[1, true]"], ["false", '"true"', "1", "null", "[1]", ABSENT]),
    ("[false]", ["false", "[0, false]"], ["true", "0", '""', "null", "[]", "[0]", ABSENT]),
    ("[null]", ["null", "[null]", '["a", null]'], ['"null"', '""', "0", "false", "[]", "{}", ABSENT]),
    ('["a", 1, true, null]', ['"a"', "1", "true", "null"], ['"1"', "false", "0", '"null"', ABSENT]),
    # Beginnings.
    ('[{"prefix": "ab"}]', ['"ab"', '"abc"', '["x", "abc"]'], ['"a"', '"Abc"', '"xab"', '""', "12", "null", ABSENT]),
    ('[{"prefix": ""}]', ['""', '"a"', '[""]'], ["1", "true", "null", "[]", "{}", ABSENT]),
    ('[{"prefix": "a"}, {"prefix": "abc"}]', ['"a"', '"ab"', '"abcd"', '"az"'], ['"b"', '"A"', '""']),
    ('[{"prefix": "1"}]', ['"1"', '"12"'], ["1", "12", "[12]"]),
    ('[{"prefix": "\\udbff\\udfff"}]', ['"\\udbff\\udfff"', '"\\udbff\\udfffa"'], ['"\\udbff\\udffe"', '"a"']),
    (
        '[{"prefix": {"equals-ignore-case": "ab"}}]',
        ['"ab"', '"ABc"', '"aBC"'],
        ['"a"', '"xab"', '""', "1", "null", ABSENT],
    ),
    ('[{"prefix": {"equals-ignore-case": "É"}}]', ['"été"', '"ÉTÉ"'], ['"ete"', '"e\\u0301te"']),
    # Ends.
    ('[{"suffix": "bc"}]', ['"bc"', '"abc"', '["bc", 1]'], ['"c"', '"abC"', '"bcd"', '""', "12", "null", ABSENT]),
    ('[{"suffix": ""}]', ['""', '"a"'], ["1", "false", "null", "[]", ABSENT]),
    ('[{"suffix": "c"}, {"suffix": "abc"}]', ['"c"', '"xabc"', '"zc"'], ['"b"', '"cb"', '""']),
    ('[{"suffix": "2"}]', ['"12"'], ["12", "2"]),
    (
        '[{"suffix": {"equals-ignore-case": ".PNG"}}]',
        ['"a.png"', '"A.PnG"', '".png"'],
        ['"png"', '"a.png "', "1", "null", ABSENT],
    ),
    # Whatever the case.
    (
        '[{"equals-ignore-case": "Alice"}]',
        ['"alice"', '"ALICE"', '"aLiCe"'],
        ['"alic"', '"alices"', "1", "null", ABSENT],
    ),
    ('[{"equals-ignore-case": ""}]', ['""'], ['"a"', "null", "[]", ABSENT]),
    ('[{"equals-ignore-case": "ЖÉ"}]', ['"жé"', '"ЖÉ"', '"жÉ"'], ['"zhe"', '"же"']),
    ('[{"equals-ignore-case": "straße"}]', ['"STRASSE"', '"Strasse"', '"STRAẞE"', '"straße"'], ['"strase"']),
    ('[{"equals-ignore-case": "ΣΑΣ"}]', ['"σας"', '"σασ"'], ['"σα"']),
    ('[{"equals-ignore-case": "1"}]', ['"1"'], ["1", "true"]),
    # Anything but.
    (
        '[{"anything-but": "a"}]',
        ['"b"', '"A"', '""', "1", "true", "null", '["a", "b"]'],
        ['"a"', '["a"]', '["a", "a"]', "[]", "{}", '{"x": "b"}', ABSENT],
    ),
    ('[{"anything-but": ["a", "b"]}]', ['"c"', '"ab"', "null", '["b", "c"]'], ['"a"', '"b"', '["a", "b"]', ABSENT]),
    ('[{"anything-but": 1}]', ["2", "1.5", '"1"', "true", "null"], ["1", "1.0", "1e0", "[1]", "[]", ABSENT]),
    ('[{"anything-but": [1, 2.5]}]', ["2", "3", '"2.5"'], ["1", "2.5", "25e-1", "[1, 2.5]", ABSENT]),
    ('[{"anything-but": ""}]', ['"a"', '" "', "null", "0"], ['""', "[]", ABSENT]),
    ('[{"anything-but": {"prefix": "ab"}}]', ['"a"', '"xab"', '"Ab"', '""', "1", "null"], ['"ab"', '"abc"', ABSENT]),
    ('[{"anything-but": {"prefix": ["a", "b"]}}]', ['"ca"', '""', "null"], ['"a"', '"bc"', '["ax", "bx"]', ABSENT]),
    ('[{"anything-but": {"suffix": "bc"}}]', ['"b"', '"bcd"', '""', "1", "null"], ['"bc"', '"abc"', ABSENT]),
    ('[{"anything-but": {"suffix": [".a", ".b"]}}]', ['"x.c"', '"a"', "1"], ['"x.a"', '".b"', ABSENT]),
    (
        '[{"anything-but": {"equals-ignore-case": "ab"}}]',
        ['"a"', '"abc"', "1", "null", "true"],
        ['"ab"', '"AB"', '"aB"', ABSENT],
    ),
    ('[{"anything-but": {"equals-ignore-case": ["a", "B"]}}]', ['"c"', "1"], ['"A"', '"b"', '["a", "b"]', ABSENT]),
    ('[{"anything-but": {"wildcard": "*/lib/*"}}]', ['"a/bin/b"', '"/lib"', "1"], ['"a/lib/b"', '"/lib/"', ABSENT]),
    ('[{"anything-but": {"wildcard": ["a*", "*b"]}}]', ['"bc"', '"ba"', "null"], ['"ac"', '"cb"', ABSENT]),
    ('[{"anything-but": "a"}, {"anything-but": "b"}]', ['"a"', '"b"', '"c"'], [ABSENT, "[]"]),
    ('[{"anything-but": "a"}, "a"]', ['"a"', '"b"', "null"], [ABSENT]),
    # Numbers.
    ('[{"numeric": ["=", 5]}]', ["5", "5.0", "5e0", "50e-1"], ["4.999999", "5.000001", '"5"', "null", "true", ABSENT]),
    ('[{"numeric": [">", 5]}]', ["5.000001", "6", "1e300"], ["5", "5.0", "4", '"6"', "true", "null", "[]", ABSENT]),
    ('[{"numeric": [">=", 5]}]', ["5", "5.0", "5.000001"], ["4.999999", "-5", '"5"', ABSENT]),
    ('[{"numeric": ["<", 5]}]', ["4.999999", "0", "-1e300"], ["5", "5.0", "5.000001", '"4"', "null", "false", ABSENT]),
    ('[{"numeric": ["<=", 5]}]', ["5", "5.0", "4.999999"], ["5.000001", "6", '"5"', "null", ABSENT]),
    ('[{"numeric": [">", 0, "<", 1]}]', ["0.5", "1e-300", "[5, 0.5]"], ["0", "1", "-0.5", "1.5", "[-1, 2]", ABSENT]),
    ('[{"numeric": [">", 0, "<=", 1]}]', ["0.5", "1"], ["0", "1.0000001"]),
    ('[{"numeric": [">=", 0, "<", 1]}]', ["0", "-0", "0.5"], ["1", "-0.0000001"]),
    ('[{"numeric": [">=", 0, "<=", 1]}]', ["0", "1", "1.0"], ["-1", "2"]),
    ('[{"numeric": ["<", 0]}, {"numeric": [">", 9]}]', ["-1", "10"], ["0", "5", "9"]),
    ('[{"numeric": [">", 1]}, {"numeric": [">", 5]}]', ["2", "5", "6"], ["1", "0"]),
    ('[{"numeric": [">", 9007199254740992]}]', ["9007199254740993"], ["9007199254740992"]),
    # Presence.
    (
        '[{"exists": true}]',
        ['"a"', '""', "0", "false", "null", "[1]", "[[1]]", '[{"x": 1}, 2]'],
        ["[]", "[[]]", "{}", '{"x": 1}', '[{"x": 1}]', ABSENT],
    ),
    (
        '[{"exists": false}]',
        [ABSENT, "[]", "[[], []]", "{}", '{"x": 1}', '[{"x": 1}]'],
        ['"a"', '""', "0", "false", "null", "[null]", '[{"x": 1}, 2]'],
    ),
    ('[{"exists": false}, "a"]', [ABSENT, '"a"', '["a"]', "[]"], ['"b"', "null", '["b"]']),
    ('[{"exists": false}, null]', [ABSENT, "null"], ['""', "0"]),
    ('[{"exists": true}, {"exists": false}]', [ABSENT, '"a"', "null", "[]", "{}"], []),
    # Wildcards.
    ('[{"wildcard": "*"}]', ['""', '"a"', '"*"', '"a\\nb"'], ["1", "null", "true", "[]", "{}", ABSENT]),
    ('[{"wildcard": "a*"}]', ['"a"', '"ab"', '"a*"'], ['"ba"', '"A"', '""', ABSENT]),
    ('[{"wildcard": "*a"}]', ['"a"', '"ba"'], ['"ab"', '""']),
    ('[{"wildcard": "a*b"}]', ['"ab"', '"aab"', '"a\\nb"', '"abab"'], ['"a"', '"b"', '"abc"', '"xab"', '"aB"']),
    ('[{"wildcard": "ab*ba"}]', ['"abba"', '"abxba"'], ['"aba"', '"ab"', '"abab"']),
    ('[{"wildcard": "*a*"}]', ['"a"', '"bab"'], ['"b"', '""']),
    ('[{"wildcard": "a*b*c"}]', ['"abc"', '"aXbXc"', '"abbcc"', '"abcbc"'], ['"acb"', '"ac"', '"abcd"']),
    ('[{"wildcard": "*ab*ab*"}]', ['"abab"', '"xabyabz"'], ['"ab"', '"aba"', '"abba"']),
    ('[{"wildcard": "a\\\\*b"}]', ['"a*b"'], ['"ab"', '"axb"', '"a\\\\*b"']),
    ('[{"wildcard": "a\\\\**"}]', ['"a*"', '"a*b"'], ['"a"', '"ab"']),
    ('[{"wildcard": "a\\\\\\\\*"}]', ['"a\\\\"', '"a\\\\b"'], ['"a*"', '"a"']),
    ('[{"wildcard": "abc"}]', ['"abc"'], ['"ab"', '"abcd"', "1", ABSENT]),
    ('[{"wildcard": "1*"}]', ['"12"'], ["12", "1"]),
    ('[{"wildcard": "dir/*.png"}]', ['"dir/a.png"', '"dir/a/b.png"', '"dir/.png"'], ['"dir/a.PNG"', '"xdir/a.png"']),
    # Addresses.
    (
        '[{"cidr": "10.0.0.0/24"}]',
        ['"10.0.0.0"', '"10.0.0.255"', '["x", "10.0.0.7"]'],
        ['"10.0.1.0"', '"9.255.255.255"', '"10.0.0"', '"10.0.0.256"', '"::ffff:10.0.0.1"', "10", "null", '""', ABSENT],
    ),
    ('[{"cidr": "10.0.0.7/24"}]', ['"10.0.0.0"', '"10.0.0.255"'], ['"10.0.1.0"']),
    ('[{"cidr": "10.0.0.7/32"}]', ['"10.0.0.7"'], ['"10.0.0.6"', '"10.0.0.8"', '"010.0.0.7"']),
    ('[{"cidr": "0.0.0.0/0"}]', ['"0.0.0.0"', '"255.255.255.255"'], ['"::1"', '"a"', '""', '"1.2.3"']),
    (
        '[{"cidr": "2001:db8::/32"}]',
        ['"2001:db8::"', '"2001:DB8::1"', '"2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"', '"2001:0db8:0:0:0:0:0:1"'],
        ['"2001:db9::"', '"2001:db7:ffff:ffff:ffff:ffff:ffff:ffff"', '"10.0.0.1"', '"2001:db8"', ABSENT],
    ),
    ('[{"cidr": "::/0"}]', ['"::"', '"::1"', '"fe80::1"'], ['"0.0.0.0"', '":"', '"fe80::1%eth0"']),
    # Several operators: any of them will do.
    ('["x", {"prefix": "a"}, {"numeric": [">", 5]}]', ['"x"', '"ab"', "6"], ['"y"', "5", "null", ABSENT]),
]

# What data is, a pattern of data, and whether it matches.
STRUCTURES = [
    # Objects.
    ('{"a": {"b": 1}}', '{"a": {"b": [1]}}', True),
    ('{"a": {"b": 1, "c": 2}}', '{"a": {"b": [1]}}', True),
    ('{"a": {"b": 1}}', '{"a": {"b": [1], "c": [2]}}', False),
    ('{"a": {"b": 1}, "c": 2}', '{"a": {"b": [1]}, "c": [2]}', True),
    ('{"a": 1}', '{"a": {"b": [1]}}', False),
    ('{"a": null}', '{"a": {"b": [null]}}', False),
    ('{"a": null}', '{"a": {"b": [{"exists": false}]}}', True),
    ("{}", '{"a": {"b": [{"exists": false}]}}', True),
    ("{}", '{"a": {"b": [{"anything-but": "x"}]}}', False),
    ('{"a": {"b": 1}}', '{"a": {"b": [{"exists": false}]}}', False),
    ('{"a": {"b": 1}}', '{"a": [{"exists": false}]}', True),
    ('{"a": {"b": 1}}', '{"a": [{"exists": true}]}', False),
    ('{"a": {"b": {"c": {"d": "x"}}}}', '{"a": {"b": {"c": {"d": [{"prefix": "x"}]}}}}', True),
    ('{"a.b": 1}', '{"a.b": [1]}', True),
    ('{"a.b": 1}', '{"a": {"b": [1]}}', False),
    ('{"a": {"b": 1}}', '{"a.b": [1]}', False),
    ('{"prefix": "a"}', '{"prefix": ["a"]}', True),
    ('{"": 1}', '{"": [1]}', True),
    # Arrays of values, also nested.
    ('{"a": [1, 2, 3]}', '{"a": [3, 9]}', True),
    ('{"a": [[1, 2], [3, [4]]]}', '{"a": [4]}', True),
    ('{"a": [[1, 2], [3, [4]]]}', '{"a": [5]}', False),
    ('{"a": [[], [[]]]}', '{"a": [{"exists": true}]}', False),
    ('{"a": [1, "x", null, true]}', '{"a": [{"numeric": [">", 0]}]}', True),
    ('{"a": [true]}', '{"a": [1]}', False),
    ('{"a": ["b", "c"], "d": "e"}', '{"a": ["c"], "d": ["e"]}', True),
    ('{"a": [1, {"b": 2}]}', '{"a": [1]}', True),
    ('{"a": [1, {"b": 2}]}', '{"a": {"b": [2]}}', True),
    ('{"a": [1, {"b": 2}]}', '{"a": [2]}', False),
    # Arrays of objects: all fields in one element.
    ('{"a": [{"b": 1, "c": 2}]}', '{"a": {"b": [1], "c": [2]}}', True),
    ('{"a": [{"b": 1}, {"c": 2}]}', '{"a": {"b": [1], "c": [2]}}', False),
    ('{"a": [{"b": 1}, {"c": 2}, {"b": 1, "c": 2}]}', '{"a": {"b": [1], "c": [2]}}', True),
    ('{"a": [{"b": [1, 9], "c": [2, 8]}]}', '{"a": {"b": [9], "c": [8]}}', True),
    ('{"a": [[{"b": 1}], [{"b": 2, "c": 2}]]}', '{"a": {"b": [2], "c": [2]}}', True),
    ('{"a": [[{"b": 1}, {"c": 2}]]}', '{"a": {"b": [1], "c": [2]}}', False),
    ('{"a": [{"b": {"c": 1}, "d": 2}]}', '{"a": {"b": {"c": [1]}, "d": [2]}}', True),
    ('{"a": [{"b": {"c": 1}}, {"d": 2}]}', '{"a": {"b": {"c": [1]}, "d": [2]}}', False),
    ('{"a": [{"b": [{"c": 1, "d": 2}]}]}', '{"a": {"b": {"c": [1], "d": [2]}}}', True),
    ('{"a": [{"b": [{"c": 1}, {"d": 2}]}]}', '{"a": {"b": {"c": [1], "d": [2]}}}', False),
    ('{"a": [{"b": [{"c": 1}]}, {"b": [{"d": 2}]}]}', '{"a": {"b": {"c": [1], "d": [2]}}}', False),
    ('{"a": [{"x": 1, "b": [{"c": 9}]}, {"x": 2, "b": [{"c": 1}]}]}', '{"a": {"x": [1], "b": {"c": [1]}}}', False),
    ('{"a": [{"b": 1}, {"b": 2}], "c": [{"d": 3}, {"d": 4}]}', '{"a": {"b": [2]}, "c": {"d": [3]}}', True),
    ('[{"a": 1}, {"a": 2, "b": 3}]', '{"a": [2], "b": [3]}', True),
    ('[{"a": 1}, {"b": 3}]', '{"a": [1], "b": [3]}', False),
    ('{"a": []}', '{"a": {"b": [1]}}', False),
    ('{"a": [{}]}', '{"a": {"b": [1]}}', False),
    # Absence in arrays of objects.
    ('{"a": [{"b": 1}, {"c": 2}]}', '{"a": {"c": [{"exists": false}]}}', False),
    ('{"a": [{"b": 1}, {"b": 2}]}', '{"a": {"c": [{"exists": false}]}}', True),
    ('{"a": [{"b": 1}, {"c": 2}]}', '{"a": {"b": [1], "c": [{"exists": false}]}}', True),
    ('{"a": [{"b": 1, "c": 2}]}', '{"a": {"b": [1], "c": [{"exists": false}]}}', False),
    ('{"a": []}', '{"a": {"b": [{"exists": false}]}}', True),
    ('{"a": [1, 2]}', '{"a": {"b": [{"exists": false}]}}', True),
    ('{"a": [{"x": 1, "b": [{"c": 1}, {"d": 1}]}]}', '{"a": {"x": [1], "b": {"d": [{"exists": false}]}}}', False),
    (
        '{"a": [{"x": 1, "b": [{"c": 1}]}, {"b": [{"d": 1}]}]}',
        '{"a": {"x": [1], "b": {"d": [{"exists": false}]}}}',
        True,
    ),
    # $or.
    ('{"a": 1}', '{"$or": [{"a": [1]}, {"b": [2]}]}', True),
    ('{"b": 2}', '{"$or": [{"a": [1]}, {"b": [2]}]}', True),
    ('{"a": 2, "b": 1}', '{"$or": [{"a": [1]}, {"b": [2]}]}', False),
    ("{}", '{"$or": [{"a": [1]}, {"b": [2]}]}', False),
    ("{}", '{"$or": [{"a": [1]}, {"b": [{"exists": false}]}]}', True),
    ('{"a": 1, "c": 3}', '{"c": [3], "$or": [{"a": [1]}, {"b": [2]}]}', True),
    ('{"a": 1, "c": 4}', '{"c": [3], "$or": [{"a": [1]}, {"b": [2]}]}', False),
    ('{"a": 1}', '{"$or": [{"a": [1], "b": [2]}, {"c": [3]}]}', False),
    ('{"a": 1, "b": 2}', '{"$or": [{"a": [1], "b": [2]}, {"c": [3]}]}', True),
    ('{"x": {"a": 1}}', '{"x": {"$or": [{"a": [1]}, {"b": [2]}]}}', True),
    ('{"x": {"b": 3}}', '{"x": {"$or": [{"a": [1]}, {"b": [2]}]}}', False),
    (
        '{"x": {"a": 1}, "y": {"d": 4}}',
        '{"x": {"$or": [{"a": [1]}, {"b": [2]}]}, "y": {"$or": [{"c": [3]}, {"d": [4]}]}}',
        True,
    ),
    (
        '{"x": {"a": 1}, "y": {"d": 5}}',
        '{"x": {"$or": [{"a": [1]}, {"b": [2]}]}, "y": {"$or": [{"c": [3]}, {"d": [4]}]}}',
        False,
    ),
    ('{"a": 1, "d": 4}', '{"$or": [{"a": [1], "$or": [{"c": [3]}, {"d": [4]}]}, {"b": [2]}]}', True),
    ('{"a": 1, "d": 5}', '{"$or": [{"a": [1], "$or": [{"c": [3]}, {"d": [4]}]}, {"b": [2]}]}', False),
    ('{"b": 2, "d": 5}', '{"$or": [{"a": [1], "$or": [{"c": [3]}, {"d": [4]}]}, {"b": [2]}]}', True),
    ('{"a": 7}', '{"$or": [{"a": [{"numeric": ["<", 0]}]}, {"a": [{"numeric": [">", 5]}]}]}', True),
    ('{"a": 3}', '{"$or": [{"a": [{"numeric": ["<", 0]}]}, {"a": [{"numeric": [">", 5]}]}]}', False),
    ('{"a": 3}', '{"a": [{"numeric": [">", 0]}], "$or": [{"a": [{"numeric": ["<", 5]}]}, {"b": [1]}]}', True),
    ('{"a": 7}', '{"a": [{"numeric": [">", 0]}], "$or": [{"a": [{"numeric": ["<", 5]}]}, {"b": [1]}]}', False),
    ('{"a": 7, "b": 1}', '{"a": [{"numeric": [">", 0]}], "$or": [{"a": [{"numeric": ["<", 5]}]}, {"b": [1]}]}', True),
    ('{"$or": 1}', '{"$or": [{"a": [1]}, {"b": [1]}]}', False),
    # $or and arrays of objects.
    ('{"x": [{"a": 1, "c": 1}, {"b": 1}]}', '{"x": {"c": [1], "$or": [{"a": [1]}, {"b": [1]}]}}', True),
    ('{"x": [{"a": 1}, {"b": 1}, {"c": 1}]}', '{"x": {"c": [1], "$or": [{"a": [1]}, {"b": [1]}]}}', False),
    ('{"x": [{"a": 1}, {"b": 1}]}', '{"x": {"a": [1]}, "$or": [{"x": {"b": [1]}}, {"y": [1]}]}', False),
    ('{"x": [{"a": 1, "b": 1}]}', '{"x": {"a": [1]}, "$or": [{"x": {"b": [1]}}, {"y": [1]}]}', True),
    ('{"x": [{"a": 1}, {"b": 1}], "y": 1}', '{"x": {"a": [1]}, "$or": [{"x": {"b": [1]}}, {"y": [1]}]}', True),
    (
        '{"x": [{"a": 1, "q": 1}, {"b": 1}]}',
        '{"$or": [{"x": {"a": [1], "b": [1]}}, {"x": {"q": [1], "a": [1]}}]}',
        True,
    ),
    ('{"x": [{"a": 1}, {"b": 1}]}', '{"$or": [{"x": {"a": [1], "b": [1]}}, {"x": {"b": [1], "c": [1]}}]}', False),
]

# Big arrays, which are matched otherwise: so many elements more, which decide nothing.
OTHERS = ", ".join(['{"q": 0}'] * 20)
BIG_ARRAYS = [
    (f'{{"a": [{{"x": 1}}, {{"x": 2}}, {OTHERS}]}}', '{"a": {"x": [1], "$or": [{"x": [2]}, {"z": [1]}]}}', False),
    (f'{{"a": [{{"x": [1, 2]}}, {OTHERS}]}}', '{"a": {"x": [1], "$or": [{"x": [2]}, {"z": [1]}]}}', True),
    (
        f'{{"a": [{{"x": 1}}, {{"x": {{"y": 2}}}}, {OTHERS}]}}',
        '{"a": {"x": [1], "$or": [{"x": {"y": [2]}}, {"z": [1]}]}}',
        False,
    ),
    (
        f'{{"a": [{{"x": [1, {{"y": 2}}]}}, {OTHERS}]}}',
        '{"a": {"x": [1], "$or": [{"x": {"y": [2]}}, {"z": [1]}]}}',
        True,
    ),
    (f'{{"a": [{{"x": 1}}, {{"y": 2}}, {OTHERS}]}}', '{"a": {"x": [1], "y": [2]}}', False),
    (f'{{"a": [{{"x": 1, "y": 2}}, {OTHERS}]}}', '{"a": {"x": [1], "y": [2]}}', True),
    (f'{{"a": [{{"x": {{"y": 1}}}}, {{"x": {{"z": 2}}}}, {OTHERS}]}}', '{"a": {"x": {"y": [1], "z": [2]}}}', False),
    (f'{{"a": [{{"x": {{"y": 1, "z": 2}}}}, {OTHERS}]}}', '{"a": {"x": {"y": [1], "z": [2]}}}', True),
    (f'{{"a": [{{"x": 1}}, {OTHERS}]}}', '{"a": {"x": [{"exists": false}]}}', False),
    (f'{{"a": [{{"x": {{}}}}, {{"x": 1}}, {OTHERS}]}}', '{"a": {"x": [{"exists": false}]}}', False),
    (f'{{"a": [{{"x": {{}}}}, {{"x": []}}, {OTHERS}]}}', '{"a": {"x": [{"exists": false}]}}', True),
    (f'{{"a": [{{"x": 1}}, {{"x": 2, "y": 1}}, {OTHERS}]}}', '{"a": {"x": [1], "y": [{"exists": false}]}}', True),
    (f'{{"a": [{{"x": 1, "y": 1}}, {OTHERS}]}}', '{"a": {"x": [1], "y": [{"exists": false}]}}', False),
    ('{"a": [1, 2, 3, 4, 5, 6, 7, 8, 9, true]}', '{"a": [true]}', True),
    ('{"a": [0, 2, 3, 4, 5, 6, 7, 8, 9, 1]}', '{"a": [true, false]}', False),
    ('{"a": ["b", "c", "d", "e", "f", "g", "h", "i", "j", 1.0]}', '{"a": [1]}', True),
    ('{"a": [null, "c", "d", "e", "f", "g", "h", "i", "j", 1]}', '{"a": [{"anything-but": ["c", "d"]}]}', True),
    ('{"a": ["c", "d", "c", "d", "c", "d", "c", "d", "c"]}', '{"a": [{"anything-but": ["c", "d"]}]}', False),
]

# An event, a pattern of its own fields, and whether it matches.
EVENTS = [
    ('{"type": "order.paid"}', "{}", True),
    ('{"type": "order.paid"}', '{"type": [{"prefix": "order."}]}', True),
    ('{"type": "order.paid"}', '{"source": [{"exists": false}]}', True),
    ('{"type": "order.paid"}', '{"source": [{"anything-but": "shop"}]}', False),
    ('{"type": "a", "source": "shop"}', '{"source": [{"anything-but": "shop"}]}', False),
    ('{"type": "a", "source": "till"}', '{"source": [{"anything-but": "shop"}]}', True),
    ('{"type": "a", "subject": "order/1"}', '{"subject": [{"wildcard": "order/*"}]}', True),
    ('{"type": "a", "date": "2026-11-22T10:00:00.000000+00:00"}', '{"date": [{"prefix": "2026-11-22"}]}', True),
    ('{"type": "a", "id": "01f0"}', '{"id": ["01f0"]}', True),
    ('{"type": "a", "workspaceId": "w"}', '{"workspaceId": ["v"]}', False),
    ('{"type": "a"}', '{"data": [{"exists": false}]}', True),
    ('{"type": "a", "data": null}', '{"data": [{"exists": true}]}', True),
    ('{"type": "a", "data": 5}', '{"data": [{"numeric": [">", 1]}]}', True),
    ('{"type": "a", "data": [1, 2]}', '{"data": [2]}', True),
    ('{"type": "a"}', '{"$or": [{"type": ["a"]}, {"data": {"x": [1]}}]}', True),
    ('{"type": "b", "data": {"x": 1}}', '{"$or": [{"type": ["a"]}, {"data": {"x": [1]}}]}', True),
    ('{"type": "b", "data": {"x": 2}}', '{"$or": [{"type": ["a"]}, {"data": {"x": [1]}}]}', False),
    ('{"type": "a", "data": {"x": 2}}', '{"type": ["a"], "$or": [{"source": ["s"]}, {"data": {"x": [1]}}]}', False),
]


def matches(pattern, event):
    return parse_pattern(msgspec.json.decode(pattern)).match(msgspec.json.decode(event))


ONE_BY_ONE = [
    (conditions, value, wanted)
    for conditions, matching, others in LISTS
    for values, wanted in ((matching, True), (others, False))
    for value in values
]


@pytest.mark.parametrize(("conditions", "value", "wanted"), ONE_BY_ONE)
def test_a_list_matches_the_values_that_it_should(conditions, value, wanted):
    data = "{}" if value == ABSENT else f'{{"field": {value}}}'

    assert matches(f'{{"data": {{"field": {conditions}}}}}', f'{{"data": {data}}}') is wanted


@pytest.mark.parametrize(("data", "pattern", "wanted"), STRUCTURES + BIG_ARRAYS)
def test_objects_arrays_and_alternatives_match_as_they_should(data, pattern, wanted):
    assert matches(f'{{"data": {pattern}}}', f'{{"data": {data}}}') is wanted


@pytest.mark.parametrize(("event", "pattern", "wanted"), EVENTS)
def test_the_fields_of_the_event_match_as_they_should(event, pattern, wanted):
    assert matches(pattern, event) is wanted

"""The expression language, row by row: what each operator, function and coercion gives."""

from __future__ import annotations

import json
import math

import pytest

from p2pwf.workflow.expr import (
    CaseSensitive,
    ExpressionError,
    Function,
    Value,
    evaluate,
    interpolate,
    kind_of,
    to_string,
)
from p2pwf.workflow.expr.parser import _Parser, parse_whole

CONTEXTS: dict[str, Value] = {
    "github": {
        "ref": "refs/heads/main",
        "Event": {"number": 7, "labels": [{"name": "bug"}, {"name": "p1"}, {"id": 3}]},
    },
    "matrix": {"os": "Linux", "list": ["a", "b", "c"], "nested": {"x": {"v": 1}, "y": {"v": 2}, "z": 3}},
    "env": CaseSensitive({"Path": "here"}),
    "nothing": None,
    "grid": [[1, 2], [3, 4], "no"],
}
INF = math.inf

VALUES: list[tuple[str, Value]] = [
    # literals
    ("null", None),
    ("true", True),
    ("false", False),
    ("'it''s'", "it's"),
    ("''", ""),
    ("12", 12.0),
    ("-1.5", -1.5),
    ("+.5", 0.5),
    ("5.", 5.0),
    ("1e3", 1000.0),
    ("2E-2", 0.02),
    ("0x1F", 31.0),
    ("0xFFFFFFFF", -1.0),
    ("0o17", 15.0),
    ("Infinity", INF),
    ("-Infinity", -INF),
    ("", None),
    ("   ", None),
    # truth and logic: the operand itself comes back
    ("!''", True),
    ("!'0'", False),
    ("!0", True),
    ("!-0", True),
    ("!NaN", True),
    ("!null", True),
    ("!github", False),
    ("'a' && 'b'", "b"),
    ("'' && 'b'", ""),
    ("'' || 0 || 'c' || 'd'", "c"),
    ("false || null", None),
    ("true && 1 && ''", ""),
    # precedence
    ("1 == 1 && 2 > 1 || false", True),
    ("!true == false", True),
    ("true || false && false", True),
    ("(true || false) && false", False),
    ("1 < 2 == true", True),
    # equality and its coercions
    ("'A' == 'a'", True),
    ("'É' == 'é'", True),
    ("'ß' == 'SS'", False),
    ("1 == '1'", True),
    ("'0x10' == 16", True),
    ("' 1 ' == 1", True),
    ("'' == 0", True),
    ("null == 0", True),
    ("null == ''", True),
    ("null == false", True),
    ("true == 1", True),
    ("true == 'true'", False),
    ("true == '1'", True),
    ("'x' == 0", False),
    ("NaN == NaN", False),
    ("NaN != NaN", True),
    ("matrix == matrix", True),
    ("matrix.list == matrix.list", True),
    ('matrix.list == fromJSON(\'["a","b","c"]\')', False),
    ("matrix == 'Object'", False),
    # order
    ("'a' < 'B'", True),
    ("'b' > 'A'", True),
    ("'10' > 9", True),
    ("'10' > '9'", False),
    ("null >= null", True),
    ("null > null", False),
    ("true > false", True),
    ("NaN <= NaN", False),
    ("matrix < matrix", False),
    ("matrix <= matrix", True),
    ("'x' > 1 || 'x' <= 1", False),
    # access
    ("github.ref", "refs/heads/main"),
    ("GITHUB.REF", "refs/heads/main"),
    ("github['REF']", "refs/heads/main"),
    ("github.event.number", 7),
    ("github.nope.deeper.still", None),
    ("github.ref.length", None),
    ("nothing.at.all", None),
    ("env.Path", "here"),
    ("env.PATH", None),
    ("matrix.list[1]", "b"),
    ("matrix.list[1.9]", "b"),
    ("matrix.list['1']", "b"),
    ("matrix.list[3]", None),
    ("matrix.list[-1]", None),
    ("matrix.list['x']", None),
    ("matrix.list[true]", "b"),
    ("matrix[null]", None),
    ('fromJSON(\'{"1": "one"}\')[1]', "one"),
    ("matrix[format('o{0}', 's')]", "Linux"),
    # filters
    ("github.event.labels.*.name", ["bug", "p1"]),
    ("github.event.labels.*.nope", []),
    ("matrix.nested.*.v", [1, 2]),
    ("matrix.list.*", ["a", "b", "c"]),
    ("grid.*[0]", [1, 3]),
    ("grid[*].*", [1, 2, 3, 4]),
    ("grid.*[1]", [2, 4]),
    ("nothing.*", []),
    ("nothing.*.x[0]", []),
    ("join(github.event.labels.*.name, '+')", "bug+p1"),
    # functions
    ("contains('Hello', 'ELL')", True),
    ("contains('', '')", True),
    ("contains(123, 2)", True),
    ("contains(matrix.list, 'B')", True),
    ("contains(matrix.list, null)", False),
    ("contains(fromJSON('[1, null]'), null)", True),
    ("contains(matrix, 'os')", False),
    ("contains(github.event.labels.*.name, 'bug')", True),
    ("startsWith('Abc', 'aB')", True),
    ("startsWith(123, 12)", True),
    ("startsWith(matrix, '')", False),
    ("endsWith('abC', 'Bc')", True),
    ("endsWith('abc', matrix.list)", False),
    ("format('{0}-{1}-{0}', 'a', 2)", "a-2-a"),
    ("format('{{{0}}}', 'x')", "{x}"),
    ("format('{{0}}')", "{0}"),
    ("format('{0}', null)", ""),
    ("format('{0} {1}', matrix, matrix.list)", "Object Array"),
    ("format('plain')", "plain"),
    ("format(12)", "12"),
    ("join(matrix.list)", "a,b,c"),
    ("join(matrix.list, null)", "abc"),
    ("join(matrix.list, matrix)", "a,b,c"),
    ("join('one', '-')", "one"),
    ("join(matrix, '-')", ""),
    ("join(fromJSON('[1,[2],null,true]'), '-')", "1-Array--true"),
    ("toJSON(null)", "null"),
    ("toJSON('a\"b')", '"a\\"b"'),
    ("toJSON(fromJSON('[]'))", "[]"),
    ("toJSON(fromJSON('{}'))", "{}"),
    ('toJSON(fromJSON(\'{"a":[1,{"b":null}],"c":{}}\'))', json.dumps({"a": [1, {"b": None}], "c": {}}, indent=2)),
    ("fromJSON('1.50')", 1.5),
    ("fromJSON(' \"x\" ')", "x"),
    ('fromJSON(\'{"a": {"B": [true]}}\').A.b[0]', True),
    ("fromJSON(toJSON(matrix)).os", "Linux"),
    ("case(false, 'a', true, 'b', 'c')", "b"),
    ("case(false, 'a', 'c')", "c"),
    ("case(true, 'a', fromJSON('not json'))", "a"),
    # what is not reached is not evaluated
    ("false && fromJSON('not json')", False),
    ("true || fromJSON('not json')", True),
    ("format('{1}', fromJSON('not json'), 'x')", "x"),
]


@pytest.mark.parametrize(("text", "expected"), VALUES, ids=[text for text, _ in VALUES])
def test_expression_has_its_value(text: str, expected: Value) -> None:
    value = evaluate(text, CONTEXTS)
    assert value == expected
    assert kind_of(value) == kind_of(expected)


ERRORS = [
    ("1 @ 2", "lexing", 2),
    ("'open", "lexing", 0),
    ("a = b", "lexing", 2),
    ("1 & 2", "lexing", 2),
    ("1-2", "lexing", 0),
    ("0xZZ", "lexing", 0),
    ('"x"', "lexing", 0),
    ("github.1x", "lexing", 7),
    ("a" * 21_001, "lexing", 0),
    ("1 2", "parsing", 2),
    ("> 1", "parsing", 0),
    ("1 <", "parsing", 2),
    ("()", "parsing", 1),
    ("(1", "parsing", 1),
    ("1)", "parsing", 1),
    ("github.", "parsing", 6),
    ("github[", "parsing", 6),
    ("github[]", "parsing", 7),
    ("(1, 2)", "parsing", 2),
    ("'a'.b", "parsing", 3),
    ("1[0]", "parsing", 1),
    ("github.*x", "parsing", 8),
    ("* == 1", "parsing", 0),
    ("github.1", "parsing", 7),
    ("contains(,1)", "parsing", 9),
    ("contains('a')", "parsing", 0),
    ("contains('a', 'b', 'c')", "parsing", 0),
    ("case(true, 1)", "parsing", 0),
    ("case(true, 1, false, 2)", "parsing", 0),
    ("unknown", "parsing", 0),
    ("github.ref == unknown.x", "parsing", 14),
    ("nofunc(1)", "parsing", 0),
    ("success()", "parsing", 0),
    ("!" * 60 + "true", "parsing", 0),
    ("github" + ".a" * 60, "parsing", 0),
    ("fromJSON('{')", "evaluation", 0),
    ("fromJSON('')", "evaluation", 0),
    ("format('{')", "evaluation", 0),
    ("format('}')", "evaluation", 0),
    ("format('{0}')", "evaluation", 0),
    ("format('{x}', 1)", "evaluation", 0),
    ("format('{0:N}', 1)", "evaluation", 0),
    ("case('true', 1, 2)", "evaluation", 0),
    ("1 == 1 && fromJSON('x')", "evaluation", 10),
]


@pytest.mark.parametrize(("text", "kind", "offset"), ERRORS, ids=[text[:40] for text, _, _ in ERRORS])
def test_expression_fails_at_its_stage_and_place(text: str, kind: str, offset: int) -> None:
    with pytest.raises(ExpressionError) as caught:
        evaluate(text, CONTEXTS)
    assert (caught.value.kind, caught.value.offset) == (kind, offset)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (1.0, "1"),
        (-12.5, "-12.5"),
        (0.1 + 0.2, "0.3"),
        (1 / 3, "0.333333333333333"),
        (123456789012345.0, "123456789012345"),
        (1e15, "1E+15"),
        (1234567890123456.0, "1.23456789012346E+15"),
        (0.0001, "0.0001"),
        (0.00001, "1E-05"),
        (1.5e-7, "1.5E-07"),
        (1e100, "1E+100"),
        (math.nan, "NaN"),
        (INF, "Infinity"),
        (-INF, "-Infinity"),
        (10**400, "Infinity"),
        (7, "7"),
    ],
)
def test_number_prints_as_github_prints_it(number: float, text: str) -> None:
    assert to_string(number) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no expression", "no expression"),
        ("${{ 1 }}${{ 'a' }}", "1a"),
        ("a ${{ github.ref }} b", "a refs/heads/main b"),
        ("${{ null }}", ""),
        ("${{ true }}", "true"),
        ("${{ matrix }}/${{ matrix.list }}", "Object/Array"),
        ("${{ '}}' }}", "}}"),
        ("${{ 'it''s }}' }}!", "it's }}!"),
        ("$ {{ x }} { } }}", "$ {{ x }} { } }}"),
        ("${{'${{'}}", "${{"),
    ],
)
def test_interpolation_replaces_each_expression_by_its_string(text: str, expected: str) -> None:
    assert interpolate(text, CONTEXTS) == expected


def test_error_in_a_text_is_placed_in_the_text() -> None:
    with pytest.raises(ExpressionError) as caught:
        interpolate("abc ${{ nope }}", CONTEXTS)
    assert caught.value.offset == 8
    with pytest.raises(ExpressionError, match="not closed") as unclosed:
        interpolate("abc ${{ 'x }}", CONTEXTS)
    assert unclosed.value.offset == 4


def test_functions_of_the_caller_are_found_without_regard_to_case_and_checked_for_arity() -> None:
    functions = {"hashFiles": Function(lambda patterns: "+".join(map(to_string, patterns)), 1, 255)}
    assert evaluate("HASHFILES('a', 'b') == 'a+b'", {}, functions) is True
    with pytest.raises(ExpressionError, match="Too few"):
        evaluate("hashFiles()", {}, functions)


def test_work_and_memory_of_one_evaluation_are_bounded() -> None:
    doubling = "'xxxxxxxxxxxxxxxx'"
    for _ in range(20):
        doubling = f"format('{{0}}{{0}}{{0}}{{0}}', {doubling})"
    with pytest.raises(ExpressionError, match="maximum allowed memory"):
        evaluate(doubling, {})
    with pytest.raises(ExpressionError, match="steps"):
        evaluate("||".join(["a == b"] * 2000), {"a": "z" * 500_000, "b": "z" * 499_999 + "y"})
    with pytest.raises(ExpressionError, match="deeper"):
        evaluate("fromJSON(a)", {"a": "[" * 100_000})


NOT_STRICT: list[tuple[str, Value]] = [
    ("[1,]", [1]),
    ("[1,,2]", [1, "", 2]),
    ("[,]", [""]),
    ("{'a':'b \"c\"',}", {"a": 'b "c"'}),
    ("{a: 1, $b_2: 2, \u00e9: 3, 4: 5}", {"a": 1, "$b_2": 2, "\u00e9": 3, "4": 5}),
    ("{a:,b: undefined}", {"a": "", "b": ""}),
    ("[/* one */ 1, // two\n 2 /**/]", [1, 2]),
    ("{/**/a/* not here */:1}", None),
    ("{a: /**/ {} // end", None),
    (" // all that is read\n1", " all that is read"),
    ("/* so is this */ {}", " so is this "),
    ("'line\nline'", "line\nline"),
    (r"'\'\/\t\u0041\ud83d\ude00\ud83d'", "'/\tA\U0001f600\ufffd"),
    (r"'\x'", None),
    ("'a", None),
    ("[Infinity, -Infinity]", [math.inf, -math.inf]),
    ("Infinit", None),
    ("[0x1F, 0XfFfFfFfFfFfFfFfF, 0x10000000000000000]", None),
    ("[0x1F, 0XfFfFfFfFfFfFfFfF]", [31, -1]),
    ("[010, 00, -010]", [8, 0, -10]),
    ("08", None),
    ("[1., .5, -.5, 1.e2, 1e400]", [1, 0.5, -0.5, 100, math.inf]),
    ("+1", None),
    ("1e", None),
    ("1_0", None),
    ("1" * 381, None),
    ("[1] and whatever follows", [1]),
    ("1,2", 1),
    ("truer", None),
    ("[1 2]", None),
    ("[1}", None),
    ("{a}", None),
    ("{a-b: 1}", None),
    ("new Date(1)", None),
    ("{'a': 1, 'A': 2, 'a': 3,}", {"a": 2}),
    ("[" * 64 + ",1" + "]" * 64, None),
    ("[" * 65 + ",1" + "]" * 65, None),
    ("", None),
    ("// no end", " no end"),
    ("/* no end", None),
]
"""What GitHub takes though it is no JSON, and its value; None for what it refuses as well."""


def nested(text: str) -> Value:
    value: Value = ["", 1]
    for _ in range(text.count("[") - 1):
        value = [value]
    return value


@pytest.mark.parametrize(("text", "value"), NOT_STRICT, ids=[text[:30] for text, _ in NOT_STRICT])
def test_json_is_read_as_leniently_as_github_reads_it(text: str, value: Value) -> None:
    if text.startswith("[" * 64 + ","):
        value = nested(text)
    if value is None:
        with pytest.raises(ExpressionError, match=r"Error parsing fromJson: .* (at line 1 column|deeper)"):
            evaluate("fromJSON(a)", {"a": text})
    else:
        assert evaluate("fromJSON(a)", {"a": text}) == value


def test_nan_in_json_is_nan() -> None:
    assert evaluate("toJSON(fromJSON('[NaN,]'))", {}) == "[\n  NaN\n]"


def test_lenient_json_is_bounded_in_steps() -> None:
    with pytest.raises(ExpressionError, match="steps"):
        evaluate("fromJSON(a)", {"a": "[" + "," * 200_000 + "]"})


def test_strings_inside_json_may_hold_brackets_without_counting_as_depth() -> None:
    assert evaluate("fromJSON(a)", {"a": json.dumps("[" * 500 + '"')}) == "[" * 500 + '"'


@pytest.mark.parametrize(
    "text", ["a", "github.ref", "a.b.c-d._e", "a" + ".b" * 40, "true", "null.x", "nullable.x", "NaN", "a.true", "a.b\n"]
)
def test_simple_ways_parse_as_all_others_do(text: str) -> None:
    try:
        slowly = repr(_Parser(text).run())
    except ExpressionError as error:
        slowly = str(error)
    try:
        assert repr(parse_whole(text)) == slowly
    except ExpressionError as error:
        assert str(error) == slowly  # noqa: PT017 - both raise the same

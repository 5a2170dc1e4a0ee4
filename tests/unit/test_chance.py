"""Which changes tests.chance makes to a source text."""

import pytest

from tests.chance.__main__ import all_mutants, drawn
from tests.chance.mutations import Mutant, mutants_of


def changes(text: str) -> list[str]:
    """Every mutant's text, without the ends of the lines."""
    found = mutants_of("a.py", text)
    assert all(mutant.compiles() for mutant in found)
    return [" ".join(mutant.mutated.split()) for mutant in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = a < b", ["x = a <= b"]),
        ("x = a >= b != c", ["x = a > b != c", "x = a >= b == c"]),
        ("x = (a) not in (b)", ["x = (a) in (b)"]),
        ("x = a is not None", ["x = a is None"]),
        ("x = (a  # < b\n < b)", ["x = (a # < b <= b)"]),
        ("if a:\n f = b", ["if not (a): f = b"]),
        ("while a == b:\n f = b", ["while a != b: f = b"]),
        ("x = a if not b else c", ["x = a if b else c"]),
        ("x = [a for a in b if a]", ["x = [a for a in b if not (a)]"]),
        ("x = a and b", ["x = not (a) and b", "x = a or b", "x = a and not (b)"]),
        ("match a:\n case b if c: d = b", ["match a: case b if not (c): d = b"]),
        ("x = 5", ["x = 0", "x = 10", "x = 4", "x = 6"]),
        ("x = a - b", ["x = a + b"]),
        ("x += a", ["x -= a"]),
        ("x = 'a' + b", []),
        ("f(a)", ["pass"]),
        ("measure(a - b)", ["pass"]),
        ("logger.info(a - b)", []),
        ("error.add_note(a)", []),
        ("x = max(a, b)", ["x = min(a, b)"]),
        ("raise Error(1)", ["pass"]),
        ("for a in b:\n continue", ["for a in b: pass"]),
        ("def f(a: 'int | 1', *, b=True) -> 2:\n return a", ["False", "None"]),
        ("def f():\n 'Text: 5 AND 6.'\n return", ["pass"]),
        ("@dataclass(frozen=True)\nclass A:\n x: int = 0", ["1", "-1"]),
        ("from a import b\nif TYPE_CHECKING:\n x = 5", []),
        ("x = f'{a:5}'", []),
    ],
)
def test_code_is_changed_in_exactly_these_ways(text: str, expected: list[str]) -> None:
    if text.startswith(("def", "@")):  # only what is put in
        assert sorted(mutant.new for mutant in mutants_of("a.py", text)) == sorted(expected)
    else:
        assert changes(text) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("attribute_not_exists(A)", ["attribute_exists(A)"]),
        ("Aa = :a", ["Aa <> :a"]),
        (
            "A <= :a AND B > :b",
            [
                "(A <= :a OR NOT A <= :a) AND B > :b",
                "A < :a AND B > :b",
                "A <= :a OR B > :b",
                "A <= :a AND (B > :b OR NOT B > :b)",
                "A <= :a AND B >= :b",
            ],
        ),
        (
            "{a} AND (A < :a OR NOT contains(B, :b))",
            [
                "({a} OR NOT {a}) AND (A < :a OR NOT contains(B, :b))",
                "{a} OR (A < :a OR NOT contains(B, :b))",
                "{a} AND ((A < :a OR NOT contains(B, :b)) OR NOT (A < :a OR NOT contains(B, :b)))",
                "{a} AND ((A < :a AND NOT A < :a) OR NOT contains(B, :b))",
                "{a} AND (A <= :a OR NOT contains(B, :b))",
                "{a} AND (A < :a AND NOT contains(B, :b))",
                "{a} AND (A < :a OR contains(B, :b))",
                "{a} AND (A < :a OR (NOT contains(B, :b) AND NOT NOT contains(B, :b)))",
            ],
        ),
        (
            "SET Aa = if_not_exists(Aa, :a), Bb = :b REMOVE Cc, {d} ADD Ee :e",
            [
                "SET NoAa = if_not_exists(Aa, :a), Bb = :b REMOVE Cc, {d} ADD Ee :e",
                "SET Aa = if_not_exists(Aa, :a), NoBb = :b REMOVE Cc, {d} ADD Ee :e",
                "SET Aa = if_not_exists(Aa, :a), Bb = :b REMOVE NoCc, {d} ADD Ee :e",
                "SET Aa = if_not_exists(Aa, :a), Bb = :b REMOVE Cc, {d} ADD NoEe :e",
            ],
        ),
        ("{a}, Bb = :b", ["{a}, NoBb = :b"]),
        ("Aa, Bb", ["NoAa, Bb", "Aa, NoBb"]),
        ("Not an expression, but a text = 5.", []),
    ],
)
@pytest.mark.parametrize("prefix", ["", "f"])
def test_expressions_of_dynamodb_are_changed_in_exactly_these_ways(
    prefix: str, expression: str, expected: list[str]
) -> None:
    assert changes(f'x = {prefix}"{expression}"') == [f'x = {prefix}"{text}"' for text in expected]


def test_an_expression_in_several_strings_is_changed_in_each() -> None:
    text = 'x = (\n"SET Aa = :a,"\n f" Bb = :b")'
    assert changes(text) == ['x = ( "SET NoAa = :a," f" Bb = :b")', 'x = ( "SET Aa = :a," f" NoBb = :b")']


def test_a_change_is_named_by_its_line_and_shown_in_it() -> None:
    first, second, *_ = mutants_of("b/a.py", "\nif 'ü' < a:  # why\n    pass\n")
    assert (first.id, second.id, first.file) == ("b/a.py:2:1", "b/a.py:2:2", "b/a.py")
    assert second.change == "if 'ü' [-<-]{+<=+} a: # why"


def test_what_does_not_compile_is_told() -> None:
    assert not Mutant("a.py:1:1", "return", 0, 0, "").compiles()


def test_the_same_seed_draws_the_same_changes_and_each_place_once_before_any_twice() -> None:
    mutants = all_mutants()
    order = drawn(mutants, 7)
    assert order == drawn(mutants, 7) != drawn(mutants, 8)
    assert sorted(mutant.id for mutant in order) == sorted(mutant.id for mutant in mutants)
    places = [(mutant.file, mutant.start, mutant.end) for mutant in order]
    assert len(set(places[: len(set(places))])) == len(set(places))

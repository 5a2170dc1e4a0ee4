"""Every small change that this tool knows to make to a source text: of a comparison, a condition, a constant, a call
that is dropped, or part of a DynamoDB expression in a string.

What only explains is left alone: docstrings, types, imports, decorators, and what is said in logs, metrics and errors.
A part of an expression is not cut out but made void: DynamoDB refuses an expression that does not use all its values.
"""

import ast
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise

_COMPARISONS = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
}
_ORDERS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)  # whose change is not their negation

_TELLS = re.compile(r"(^|\.)(logger\.\w+|gc\.\w+|_?warn|add_note)$")  # calls that change nothing but what is said
_TELLS_NUMBERS = re.compile(r"(^|\.)measure$")  # whether it is called matters

_EXPRESSION = re.compile(
    r"\b(attribute_(not_)?exists|contains|if_not_exists)\(| (AND|OR) |\b(SET|REMOVE|ADD|DELETE) [A-Z{:]"
    r"|\b[A-Z]\w+ (=|<>|<=?|>=?) :|^f?[\"'][A-Z]\w+(, [A-Z]\w+)+[\"']$"
)
_UPDATE = re.compile(r"\b(SET|REMOVE|ADD|DELETE) |, [A-Z]\w+ = |^f?[\"'][A-Z]\w+(, [A-Z]\w+)+[\"']$")
_CHANGED_ATTRIBUTE = re.compile(r"(?:\b(?:SET|REMOVE|ADD|DELETE) |,[\"'\sf]*|^f?[\"'])(?P<name>[A-Z]\w*[a-z]\w*)")
_CLAUSE = r"(?P<clause>(?! )(?:[^()\"']|\((?:[^()\"']|\([^()\"']*\))*\))+?)"
_CLAUSES = (
    re.compile(rf"(?= (?P<word>AND|OR) {_CLAUSE}(?: AND | OR |[)\"']))"),
    re.compile(rf"(?<=[\"'(])(?={_CLAUSE} (?P<word>AND|OR) )"),
)
_IN_EXPRESSIONS = (
    (re.compile(r"(?<= )(<=|>=|<>|<|>)(?= )"), {"<=": "<", "<": "<=", ">=": ">", ">": ">=", "<>": "="}),
    (
        re.compile(r"(?<![a-z_])attribute_(?:not_)?exists"),
        {"attribute_exists": "attribute_not_exists", "attribute_not_exists": "attribute_exists"},
    ),
    (re.compile(r"\bNOT "), {"NOT ": ""}),
    (re.compile(r"(?<= )(AND|OR)(?= )"), {"AND": "OR", "OR": "AND"}),
)


@dataclass(frozen=True, slots=True)
class Mutant:
    """`text` with `new` in the place of its characters from `start` to `end`."""

    id: str  # FILE:LINE:NUMBER
    text: str
    start: int
    end: int
    new: str

    @property
    def file(self) -> str:
        return self.id.partition(":")[0]

    @property
    def mutated(self) -> str:
        return self.text[: self.start] + self.new + self.text[self.end :]

    @property
    def change(self) -> str:
        """The lines that it changes on one, marked as git diff --word-diff marks them: [-before-]{+after+}."""
        first, last = self.text.rfind("\n", 0, self.start) + 1, self.text.find("\n", self.end)
        before = self.text[self.start : self.end]
        line = f"{self.text[first : self.start]}[-{before}-]{{+{self.new}+}}{self.text[self.end : last]}"
        return " ".join(line.split())

    def compiles(self) -> bool:
        """Without a warning too: the tests make errors of warnings."""
        try:
            with warnings.catch_warnings(action="error"):
                compile(self.mutated, self.id, "exec")
        except (SyntaxError, SyntaxWarning, ValueError):
            return False
        return True


def mutants_of(file: str, text: str) -> list[Mutant]:
    """All mutants of the source text of `file`, in its order."""
    finder = _Finder(text)
    finder.visit(ast.parse(text))
    numbers: Counter[int] = Counter()
    found = []
    for start, end, new in sorted(finder.edits):
        line = text.count("\n", 0, start) + 1
        numbers[line] += 1
        found.append(Mutant(f"{file}:{line}:{numbers[line]}", text, start, end, new))
    return found


class _Finder(ast.NodeVisitor):
    """Collects edits: the offsets of characters, and what is put there instead."""

    def __init__(self, text: str) -> None:
        self.edits: set[tuple[int, int, str]] = set()
        self._text = text
        self._lines = text.split("\n")
        self._line_starts = [0, *accumulate(len(line) + 1 for line in self._lines)]

    def _offset(self, line: int, column: int) -> int:
        """Of a place that ast tells, which counts bytes."""
        return self._line_starts[line - 1] + len(self._lines[line - 1].encode()[:column].decode())

    def _span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._offset(node.lineno, node.col_offset), self._offset(node.end_lineno, node.end_col_offset)

    def _replace(self, node: ast.expr | ast.stmt, *texts: str) -> None:
        start, end = self._span(node)
        self.edits |= {(start, end, text) for text in texts if text != self._text[start:end]}

    def _swap(self, left: ast.expr, right: ast.expr, old: str, new: str) -> None:
        """The operator between two operands, where nothing else is but parentheses and comments."""
        start, end = self._span(left)[1], self._span(right)[0]
        gap = re.sub(r"#[^\n]*", lambda comment: " " * len(comment[0]), self._text[start:end])
        operator = re.search(re.escape(old).replace(r"\ ", r"\s+"), gap)
        assert operator, f"{old} is not in {gap!r}"
        self.edits.add((start + operator.start(), start + operator.end(), new))

    def _negate(self, node: ast.expr) -> None:
        """A condition; what visiting it negates anyhow is not negated twice."""
        compares = isinstance(node, ast.Compare) and not isinstance(node.ops[0], _ORDERS)
        denies = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
        if not compares and not denies and not isinstance(node, ast.Constant):
            start, end = self._span(node)
            self.edits.add((start, end, f"not ({self._text[start:end]})"))

    def visit_Import(self, node: ast.Import) -> None: ...

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None: ...

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for part in node.body:
            self.visit(part)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        for part in [*node.args.defaults, *filter(None, node.args.kw_defaults), *node.body]:
            self.visit(part)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value:
            self.visit(node.value)

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call) and not _TELLS.search(ast.unparse(node.value.func)):
            self._replace(node, "pass")
        if not isinstance(node.value, ast.Constant):
            self.visit(node.value)

    def visit_Call(self, node: ast.Call) -> None:
        called = ast.unparse(node.func)
        if called in ("min", "max"):
            self._replace(node.func, "min" if called == "max" else "max")
        if not _TELLS.search(called) and not _TELLS_NUMBERS.search(called):
            self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        self._replace(node, "pass")

    def visit_Break(self, node: ast.Break) -> None:
        self._replace(node, "pass")

    def visit_Continue(self, node: ast.Continue) -> None:
        self._replace(node, "pass")

    def visit_Return(self, node: ast.Return) -> None:
        if node.value:
            self._replace(node.value, "None")
            self.visit(node.value)
        else:
            self._replace(node, "pass")

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test) != "TYPE_CHECKING":
            self._visit_condition(node)

    def _visit_condition(self, node: ast.If | ast.While | ast.IfExp) -> None:
        self._negate(node.test)
        self.generic_visit(node)

    visit_While = visit_IfExp = _visit_condition  # noqa: N815 - ast names them so

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for condition in node.ifs:
            self._negate(condition)
        self.generic_visit(node)

    def visit_match_case(self, node: ast.match_case) -> None:
        if node.guard:
            self._negate(node.guard)
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        for operator, (left, right) in zip(node.ops, pairwise([node.left, *node.comparators]), strict=True):
            self._swap(left, right, *_COMPARISONS[type(operator)])
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        for left, right in pairwise(node.values):
            self._swap(left, right, *(("and", "or") if isinstance(node.op, ast.And) else ("or", "and")))
        for value in node.values:
            self._negate(value)
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not):
            start, _ = self._span(node)
            self.edits.add((start, start + len("not "), ""))
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if isinstance(node.op, ast.Add | ast.Sub) and not _is_text(node.left) and not _is_text(node.right):
            self._swap(node.left, node.right, *("+-" if isinstance(node.op, ast.Add) else "-+"))
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.op, ast.Add | ast.Sub) and not _is_text(node.value):
            self._swap(node.target, node.value, *("+-" if isinstance(node.op, ast.Add) else "-+"))
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool):
            self._replace(node, str(not value))
        elif isinstance(value, int | float):
            self._replace(node, *(str(other) for other in {value + 1, value - 1, value * 2, 0} - {value}))
        elif isinstance(value, str):
            self._edit_expression(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        self._edit_expression(node)  # and not what is in its braces, of which Python 3.11 does not tell the place

    def _edit_expression(self, node: ast.Constant | ast.JoinedStr) -> None:
        start, end = self._span(node)
        text = self._text[start:end]
        if _EXPRESSION.search(text):
            self.edits |= {(start + first, start + last, new) for first, last, new in _edits_of_expression(text)}


def _edits_of_expression(text: str) -> Iterator[tuple[int, int, str]]:
    """`text`: the source of a string, quotes and all; it may be several that Python joins."""
    for pattern, instead in _IN_EXPRESSIONS:
        for old in pattern.finditer(text):
            yield *old.span(), instead[old[0]]
    plain = re.sub(r"\{[^{}]*\}", lambda braces: "x" * len(braces[0]), text)
    if _UPDATE.search(plain):
        for name in _CHANGED_ATTRIBUTE.finditer(plain):
            yield *name.span("name"), f"No{name['name']}"
    else:
        for equals in re.finditer(r"(?<= )=(?= )", plain):
            yield *equals.span(), "<>"
    for clauses in _CLAUSES:
        for found in clauses.finditer(plain):
            first, last = found.span("clause")
            void = "OR" if found["word"] == "AND" else "AND"
            yield first, last, f"({text[first:last]} {void} NOT {text[first:last]})"


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))

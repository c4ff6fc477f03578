"""Finds the places where a file can be mutated: each mutation is one small change of behaviour, made in the text so
that lines stay.
"""

import ast
import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_COMPARISONS = {
    ast.Lt: ("<=", ">="),
    ast.LtE: ("<", ">"),
    ast.Gt: (">=", "<="),
    ast.GtE: (">", "<"),
    ast.Eq: ("!=",),
    ast.NotEq: ("==",),
    ast.Is: ("is not",),
    ast.IsNot: ("is",),
    ast.In: ("not in",),
    ast.NotIn: ("in",),
}
_OPERATORS = {
    ast.Add: "-",
    ast.Sub: "+",
    ast.Mult: "/",
    ast.Div: "*",
    ast.FloorDiv: "/",
    ast.Mod: "*",
    ast.Pow: "*",
    ast.BitAnd: "|",
    ast.BitOr: "&",
}
_CALLS = {
    "min": "max",
    "max": "min",
    "any": "all",
    "all": "any",
    "median": "max",
    "argmin": "argmax",
    "argmax": "argmin",
}
# Calls that only report something, and calls that check types: without them nothing else changes.
_TELLING = {"print", "info", "warning", "warn", "error", "debug", "cast", "get_logger"}
# Keyword arguments that do not influence results.
_WORDS = {
    "description",
    "help",
    "name",
    "daemon",
    "stacklevel",
    "exist_ok",
    "parents",
    "strict",
    "throttle_duration_sec",
}


@dataclass(frozen=True)
class Mutation:
    """
    :param path: path of the file, relative to the checkout.
    :param line: number of its line, from 1.
    :param start, end: range of the file's bytes that are replaced.
    :param kind: kind of the change.
    :param key: hash of the changed code and its function, without line numbers: it stays the same when other code in
        the file changes.
    """

    path: str
    line: int
    start: int
    end: int
    old: str
    new: str
    kind: str
    key: str

    def apply(self, source: bytes) -> bytes:
        """The file's mutated content."""
        return source[: self.start] + self.new.encode() + source[self.end :]

    def is_python(self, source: bytes) -> bool:
        """Whether the mutated content can be parsed."""
        try:
            ast.parse(self.apply(source))
        except SyntaxError:
            return False
        return True

    def __str__(self) -> str:
        shown = [" ".join(text.split()) for text in (self.old, self.new)]
        return f"{self.path}:{self.line} [{self.kind}] {' → '.join(text[:90] for text in shown)}"


def mutations_of(root: Path, path: str) -> list[Mutation]:
    """All mutations of one file, in its order.

    :param root: folder of the checkout.
    :param path: path of the file, relative to it.
    """
    source = (root / path).read_bytes()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found, seen = [], Counter()
    for function, node, new, kind in _changes(ast.parse(source)):
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[node.end_lineno - 1] + node.end_col_offset
        old = source[start:end].decode()
        identity = (path.rsplit("/", 1)[-1], function, old, new, kind)
        seen[identity] += 1
        key = hashlib.sha256(repr((*identity, seen[identity])).encode()).hexdigest()[:16]
        found.append(Mutation(path, node.lineno, start, end, old, new, kind, key))
    return found


def _changes(tree: ast.Module) -> Iterator[tuple[str, ast.AST, str, str]]:
    """Function, node, its new text, kind."""
    waiting: list[tuple[str, ast.AST]] = [("", tree)]
    while waiting:
        function, node = waiting.pop()
        for new, kind in _mutated(node):
            yield function, node, new, kind
        if isinstance(node, ast.If | ast.IfExp) and isinstance(node.test, ast.Name | ast.Attribute | ast.Call):
            yield function, node.test, f"(not {ast.unparse(node.test)})", "branch"
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            function = f"{function}.{node.name}"
        waiting += [(function, child) for child in reversed(_children(node))]


def _children(node: ast.AST) -> list[ast.AST]:
    """The children in which a mutation is meaningful: no texts, annotations, decorators or messages."""
    if isinstance(node, ast.JoinedStr | ast.Raise | ast.Import | ast.ImportFrom | ast.Assert) or _tells(node):
        return []
    left_out = {id(getattr(node, name, None)) for name in ("annotation", "returns")}
    left_out |= {id(child) for child in getattr(node, "decorator_list", ())}
    if (
        isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Name)
        and node.value.id in ("Literal", "list", "dict")
    ):
        left_out.add(id(node.slice))
    return [child for child in ast.iter_child_nodes(node) if id(child) not in left_out]


def _tells(node: ast.AST) -> bool:
    call = node.value if isinstance(node, ast.Expr) else node
    return isinstance(call, ast.Call) and _called(call) in _TELLING


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _mutated(node: ast.AST) -> Iterator[tuple[str, str]]:
    text = ast.unparse
    match node:
        case ast.Compare(left, [operator], [right]):
            for sign in _COMPARISONS[type(operator)]:
                yield f"({text(left)} {sign} {text(right)})", "comparison"
        case ast.BinOp(left, operator, right) if type(operator) in _OPERATORS and not _is_text(node):
            yield f"(({text(left)}) {_OPERATORS[type(operator)]} ({text(right)}))", "operator"
        case ast.BoolOp(operator, values):
            other = " or " if isinstance(operator, ast.And) else " and "
            yield "(" + other.join(f"({text(value)})" for value in values) + ")", "and/or"
            same = " and " if isinstance(operator, ast.And) else " or "
            for left_out in range(len(values)):
                kept = [f"({text(value)})" for place, value in enumerate(values) if place != left_out]
                yield "(" + same.join(kept) + ")", "condition dropped"
        case ast.UnaryOp(ast.Not(), operand):
            yield f"bool({text(operand)})", "not dropped"
        case ast.UnaryOp(ast.USub(), operand) if not isinstance(operand, ast.Constant):
            yield f"({text(operand)})", "sign"
        case ast.Constant(bool() as value):
            yield str(not value), "constant"
        case ast.Constant(int() as value):
            yield str(value + 1), "constant"
        case ast.Constant(float() as value):
            yield repr(2.0 * value or 1.0), "constant"
        case ast.IfExp(_, body, orelse):
            yield f"({text(body)})", "branch"
            yield f"({text(orelse)})", "branch"
        case ast.Call(keywords=keywords):
            yield from _mutated_call(node, keywords)
        case ast.Raise(exc=exc) if exc is not None and not (
            isinstance(exc, ast.Name) and exc.id == "NotImplementedError"
        ):
            yield "pass", "statement"
        case ast.Return(value) if value is not None and not (isinstance(value, ast.Constant) and value.value is None):
            yield "return None", "statement"
        case ast.Continue() | ast.Break():
            yield "pass", "statement"
        case ast.AugAssign():
            yield "pass", "statement"
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield "pass", "statement"
        case ast.Expr(ast.Call()) if not _tells(node):
            yield "pass", "statement"


def _mutated_call(node: ast.Call, keywords: list[ast.keyword]) -> Iterator[tuple[str, str]]:
    name = _called(node)
    if name in _CALLS:
        other = ast.parse(ast.unparse(node), mode="eval").body
        if isinstance(other.func, ast.Attribute):
            other.func.attr = _CALLS[name]
        else:
            other.func.id = _CALLS[name]
        yield ast.unparse(other), "call"
    for keyword in keywords:
        if keyword.arg is not None and keyword.arg not in _WORDS:
            kept = [other for other in keywords if other is not keyword]
            yield ast.unparse(ast.Call(node.func, node.args, kept)), "argument dropped"


def _is_text(node: ast.BinOp) -> bool:
    return any(
        isinstance(part, ast.JoinedStr) or (isinstance(part, ast.Constant) and isinstance(part.value, str))
        for part in (node.left, node.right)
    )

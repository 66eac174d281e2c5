"""Works out what a function does where enough is known of what it looks at."""

from __future__ import annotations

import ast
import operator
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

# What nothing is known of. Whatever is made of it is not known either, unless the rest decides.
UNKNOWN: Final = object()
# Of what is known only that it is there.
PRESENT: Final = object()

_COMPARISONS: Final[dict[type[ast.cmpop], Callable[[Any, Any], bool]]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}


class KnownValues:
    """Runs statements with what is known, by the text of the expression that stands for it.

    Args:
        values: such as {"self.parallel_config.pipeline_parallel_size": 2}.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def after(self, statements: Iterable[ast.stmt], wanted: str) -> Any:
        """The value of an expression behind these statements, where they come to their end."""
        return UNKNOWN if self._run(statements) is not None else self._values.get(wanted, UNKNOWN)

    def returned(self, statements: Iterable[ast.stmt]) -> Any:
        """What these statements return."""
        ended = self._run(statements)
        return ended[0] if ended is not None else UNKNOWN

    def _run(self, statements: Iterable[ast.stmt]) -> tuple[Any] | None:
        """What is returned, or UNKNOWN where that cannot be said; None where they go on."""
        for statement in statements:
            if isinstance(statement, ast.Return):
                return (self.value(statement.value),)
            if isinstance(statement, ast.Raise):
                return (UNKNOWN,)
            if isinstance(statement, ast.If):
                ended = self._run_branch(statement)
            elif isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
                ended = self._assign(statement, self.value(statement.value))
            else:
                ended = self._forget(statement)
            if ended is not None:
                return ended
        return None

    def _run_branch(self, statement: ast.If) -> tuple[Any] | None:
        test = self.value(statement.test)
        if test is UNKNOWN:
            return self._forget(statement)
        return self._run(statement.body if test else statement.orelse)

    def _assign(self, statement: ast.Assign | ast.AnnAssign, value: Any) -> None:
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        for target in targets:
            self._values[ast.unparse(target)] = value

    def _forget(self, statement: ast.stmt) -> tuple[Any] | None:
        """Nothing is known any more of what a statement may set; it may return, too."""
        for node in ast.walk(statement):
            if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
                self._values[ast.unparse(node)] = UNKNOWN
        may_return = any(isinstance(node, ast.Return) for node in ast.walk(statement))
        return (UNKNOWN,) if may_return else None

    def value(self, node: ast.expr | None) -> Any:
        """What an expression is."""
        if node is None or isinstance(node, ast.Constant):
            return node.value if node is not None else None
        if isinstance(node, ast.BoolOp):
            return self._bool_op(node)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            operand = self.value(node.operand)
            return UNKNOWN if operand is UNKNOWN else not operand
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            compare = _COMPARISONS.get(type(node.ops[0]))
            return self._of_two(compare, node.left, node.comparators[0])
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return self._of_two(operator.add, node.left, node.right)
        return self._values.get(ast.unparse(node), UNKNOWN)

    def _bool_op(self, node: ast.BoolOp) -> Any:
        decides = isinstance(node.op, ast.Or)
        values = [self.value(one) for one in node.values]
        for value in values:
            if value is not UNKNOWN and bool(value) is decides:
                return value
        return UNKNOWN if UNKNOWN in values else values[-1]

    def _of_two(self, of: Callable[[Any, Any], Any] | None, left: ast.expr, right: ast.expr) -> Any:
        pair = (self.value(left), self.value(right))
        return UNKNOWN if of is None or UNKNOWN in pair else of(*pair)

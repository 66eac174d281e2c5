"""Small mistakes that somebody could make in a C++ source, one at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import tree_sitter_cpp
from tree_sitter import Language, Node, Parser

if TYPE_CHECKING:
    from collections.abc import Iterator

OPERATORS = {
    "<": ("<=", ">="),
    "<=": ("<", ">"),
    ">": (">=", "<="),
    ">=": (">", "<"),
    "==": ("!=",),
    "!=": ("==",),
    "+": ("-",),
    "-": ("+",),
    "*": ("/",),
    "/": ("*",),
    "%": ("*",),
    "+=": ("-=",),
    "-=": ("+=",),
    "*=": ("/=",),
    "/=": ("*=",),
}
FUNCTIONS = {
    "min": "max",
    "max": "min",
    "ceil": "floor",
    "floor": "ceil",
    "any_of": "all_of",
    "all_of": "any_of",
    "min_element": "max_element",
    "max_element": "min_element",
    "lower_bound": "upper_bound",
    "upper_bound": "lower_bound",
}
UNARY = ("-", "!")
REPLACED = {
    "true": "false",
    "false": "true",
    "expression_statement": ";",
    "break_statement": ";",
    "continue_statement": ";",
}
# What an error says is not behaviour, and what the compiler asserts cannot be broken unseen.
LEFT_ALONE = ("throw_statement", "static_assert_declaration", "template_argument_list", "comment")


@dataclass(frozen=True)
class Mutation:
    """Bytes `start` to `end` of a source become `text`."""

    line: int
    start: int
    end: int
    text: str
    words: str  # the lines that it is on, with the change in them

    def apply(self, source: bytes) -> bytes:
        return source[: self.start] + self.text.encode() + source[self.end :]


def mutations(source: bytes) -> list[Mutation]:
    """All of them, in the order of their places."""
    root = Parser(Language(tree_sitter_cpp.language())).parse(source).root_node
    found = [mutation(source, node, text) for node, text in of_tree(root)]
    return sorted(found, key=lambda one: (one.start, one.end))


def mutation(source: bytes, node: Node, text: str) -> Mutation:
    start, end = node.start_byte, node.end_byte
    before = source[source.rfind(b"\n", 0, start) + 1 : start].decode()
    after = source[end : source.find(b"\n", end)].decode()
    words = f"{before}[{text_of(node)} -> {text}]{after}"
    return Mutation(node.start_point.row + 1, start, end, text, " ".join(words.split()))


def of_tree(node: Node) -> Iterator[tuple[Node, str]]:
    """Nodes below and what each may become."""
    if node.type in LEFT_ALONE:
        return
    yield from of_node(node)
    for child in node.children:
        yield from of_tree(child)


def of_node(node: Node) -> Iterator[tuple[Node, str]]:
    match node.type:
        case "binary_expression" | "assignment_expression":
            yield from of_operator(node)
        case "number_literal":
            yield from of_number(node)
        case "condition_clause":
            # Where the condition is always true, an endless loop is all that there is to find.
            words = ("false",) if of_parent(node, "while_statement") else ("true", "false")
            yield from of_condition(node.child_by_field_name("value"), words)
        case "conditional_expression":
            yield from of_condition(node.child_by_field_name("condition"), ("true", "false"))
        case "unary_expression" if text_of(node.children[0]) in UNARY:
            yield node, text_of(node.children[1])
        case "identifier" if of_parent(node, "qualified_identifier") and text_of(node) in FUNCTIONS:
            yield node, FUNCTIONS[text_of(node)]
        case kind if kind in REPLACED:
            yield node, REPLACED[kind]


def of_condition(node: Node | None, words: tuple[str, ...]) -> Iterator[tuple[Node, str]]:
    if node is not None:
        yield from ((node, word) for word in words)


def of_operator(node: Node) -> Iterator[tuple[Node, str]]:
    operator = node.child_by_field_name("operator")
    left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
    if operator is None or left is None or right is None:
        return
    if operator.type in ("&&", "||"):
        yield from ((node, text_of(side)) for side in (left, right))
    yield from (
        (node, replaced(node, operator, other)) for other in OPERATORS.get(operator.type, ())
    )


def of_number(node: Node) -> Iterator[tuple[Node, str]]:
    """Twice and half of it: neighbours for counts, for shares and for times alike."""
    text = text_of(node)
    value = float(text.rstrip("uUlLfF").replace("'", ""))
    if value == 0.0:
        yield node, text.replace("0", "1", 1)
    else:
        yield node, f"(2 * {text})"
        yield node, f"({text} / 2)"


def of_parent(node: Node, kind: str) -> bool:
    return node.parent is not None and node.parent.type == kind


def replaced(node: Node, operator: Node, other: str) -> str:
    begin, end = operator.start_byte - node.start_byte, operator.end_byte - node.start_byte
    return (node.text or b"")[:begin].decode() + other + (node.text or b"")[end:].decode()


def text_of(node: Node) -> str:
    return (node.text or b"").decode()

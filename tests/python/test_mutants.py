"""The mistakes that `make mutants` makes."""

import pytest

from tests.mutants.build import REPOSITORY
from tests.mutants.mutations import mutations
from tests.mutants.run import explanations


def words(source: str) -> list[str]:
    text = f"void f() {{\n{source}\n}}\n"
    return [one.words for one in mutations(text.encode())]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("return a < b;", ["return [a < b -> a <= b];", "return [a < b -> a >= b];"]),
        ("return a && b;", ["return [a && b -> a];", "return [a && b -> b];"]),
        ("return -a;", ["return [-a -> a];"]),
        ("return std::min(a, b);", ["return std::[min -> max](a, b);"]),
        ("int a = 16U;", ["int a = [16U -> (2 * 16U)];", "int a = [16U -> (16U / 2)];"]),
        ("int a = 0;", ["int a = [0 -> 1];"]),
        ("sort(a);", ["[sort(a); -> ;]"]),
        ("if (a) { }", ["if ([a -> true]) { }", "if ([a -> false]) { }"]),
        ("while (a) { }", ["while ([a -> false]) { }"]),
        ("return a ? b : c;", ["return [a -> true] ? b : c;", "return [a -> false] ? b : c;"]),
        # Not code, not behaviour, or no operator.
        ("// a < b", []),
        ('throw Error("a" + b);', []),
        ("static_assert(a < 2);", []),
        ("std::array<double, 2> a{};", []),
    ],
)  # fmt: skip
def test_each_is_one_small_change(source: str, expected: list[str]) -> None:
    assert words(source) == expected


def test_they_change_what_they_say() -> None:
    source = b"double f() { return a +\n  2.0 * b; }\n"
    texts = [one.apply(source).decode() for one in mutations(source)]
    assert "double f() { return a -\n  2.0 * b; }\n" in texts
    assert "double f() { return a +\n  (2.0 / 2) * b; }\n" in texts
    assert len(set(texts)) == len(texts)


def test_every_explanation_is_of_a_change_that_is_made() -> None:
    unmade = set(explanations())
    for name in {name for name, _ in unmade}:
        source = (REPOSITORY / "csrc" / "cpp_chunk" / f"{name}.cpp").read_bytes()
        unmade -= {(name, one.words) for one in mutations(source)}
    assert not unmade

"""Which faults are made of a text, and which are not; which are drawn."""

from __future__ import annotations

from pathlib import Path

import pytest

from .draw import draw, find_all
from .mutants import Mutant, PragmaError, find_mutants, mutated_text, short_diff


def faults_of(directory: Path, text: str) -> list[tuple[str, str]]:
    """The operator and the changed line of each fault of a text."""
    (directory / "code.py").write_text(text)
    texts = [(mutant, mutated_text(directory, mutant)) for mutant in find_mutants(directory, "code.py")]
    return [
        (mutant.operator, short_diff(text, changed)[1]) for mutant, changed in texts if changed is not None
    ]


@pytest.mark.parametrize(
    ("text", "operator", "line"),
    [
        ("def f(a):\n    return a < 3\n", "swap_op", "return a <= 3"),
        ("def f(a):\n    return a < 3\n", "number", "return a < 4"),
        ("def f(a):\n    return a < 3\n", "return", "return None"),
        ("def f(a):\n    return a and a.b\n", "swap_op", "return a or a.b"),
        ("def f(a):\n    return not a\n", "remove_unary_ops", "return a"),
        ("def f(a):\n    if a is None:\n        return\n", "keywords", "if a is not None:"),
        ("def f(a):\n    if a:\n        return\n", "condition", "if not (a):"),
        ("def f(a):\n    return [b for b in a if b]\n", "condition", "return [b for b in a if not (b)]"),
        ("def f(a):\n    a.close()\n", "statement", "pass"),
        ("def f(a):\n    a.b = 1\n", "statement", "pass"),
        ("def f(a):\n    a += 1\n", "statement", "pass"),
        ("def f(a):\n    raise a\n", "statement", "pass"),
        ("def f(a):\n    del a[0]\n", "statement", "pass"),
        ("async def f(a):\n    await a\n", "statement", "pass"),
        ("def f(a=True):\n    pass\n", "name", "def f(a=False):"),
        ("def f(a):\n    return a(1, b=2)\n", "argument", "return a(1, )"),
        ("def f(a):\n    return a(b)\n", "none_argument", "return a(None)"),
        ("try:\n    f()\nexcept OSError:\n    pass\n", "except", "except ():"),
        ("try:\n    f()\nexcept (OSError, KeyError):\n    pass\n", "except", "except (OSError,):"),
        ("@contextmanager\ndef f(a):\n    yield\n", "decorator", ""),
        ("for a in b:\n    continue\n", "keywords", "break"),
        ("match a:\n    case 1:\n        f()\n    case 2:\n        g()\n", "match", ""),
    ],
)
def test_a_fault_is_made(tmp_path: Path, text: str, operator: str, line: str) -> None:
    assert (operator, line) in faults_of(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        '"""A docstring."""\n',
        "def f(a: int | None) -> tuple[int, 1]:\n    '''A docstring.'''\n",
        "a: dict[str, 1 | 2]\n",
        "Schema = dict[str, Any]\n",
        "if TYPE_CHECKING:\n    a = 1\n",
        "if __name__ == '__main__':\n    main()\n",
        "__all__ = ['f', *g()]\n",
        "class A:\n    def __repr__(self):\n        return f'{self.b + 1}'\n",
        "def f():\n    _log.warning('a %d', a + 1)\n",
        "_log = Log(__name__)\n",
        "def f(a):\n    assert isinstance(a, b)\n",
        "@lru_cache(maxsize=8)\ndef f():\n    pass\n",
        "@override\ndef f():\n    pass\n",
        "_STOP_SECONDS = 5.0\n",
        "class A(Enum):\n    B = auto()\n",
        "a = 1  # pragma: no mutate: any number will do\n",
    ],
)
def test_no_fault_is_made(tmp_path: Path, text: str) -> None:
    assert faults_of(tmp_path, text) == []


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("@dataclass(frozen=True, slots=True)\nclass A:\n    pass\n", {""}),
        ("f(timeout=5)\n", {"pass"}),
        ("f(a=False)\n", {"pass", "f(a=True)"}),
        ("c(**zip(a, strict=True))\n", {"pass", "c(**zip(None, strict=True))", "c(**zip(strict=True))"}),
        (
            "raise DiskError(f'{a + 1} files', hint=b, path=c)\n",
            {
                "pass",
                "raise DiskError(f'{a + 1} files', hint=b, path=None)",
                "raise DiskError(f'{a + 1} files', hint=b, )",
            },
        ),
    ],
)
def test_what_nobody_could_notice_is_no_fault(tmp_path: Path, text: str, lines: set[str]) -> None:
    assert {line for _, line in faults_of(tmp_path, text)} == lines


def test_a_pragma_says_why(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text("a = 1\nb = 2  # pragma: no mutate\n")
    with pytest.raises(PragmaError, match=r"code\.py:2"):
        find_mutants(tmp_path, "code.py")


def test_where_a_fault_is(tmp_path: Path) -> None:
    text = (
        "import a\n\n\n"
        "@a.b(1)\n"
        "def f(\n    c=2,\n):\n"
        "    if c:\n"
        "        return a(\n            c,\n            3,\n        )\n"
        "    return lambda: 4\n"
    )
    (tmp_path / "code.py").write_text(text)
    numbers = [mutant for mutant in find_mutants(tmp_path, "code.py") if mutant.operator == "number"]
    assert [(one.line, one.lines, one.at_import) for one in numbers] == [
        (4, range(4, 8), True),
        (6, range(4, 8), True),
        (11, range(9, 13), False),
        (13, range(13, 14), False),
    ]


def _tree(root: Path) -> list[Mutant]:
    (root / "code").mkdir()
    (root / "code" / "dense.py").write_text("def f(a):\n    return a(1 + 2 * 3 - 4, 5 // 6, 7 % 8)\n")
    (root / "code" / "plain.py").write_text("".join(f"def f{n}(a):\n    return a < {n}\n" for n in range(9)))
    return find_all(root, [root / "code"])


def test_the_same_seed_draws_the_same_faults(tmp_path: Path) -> None:
    mutants = _tree(tmp_path)
    draws = [draw(mutants, sample=8, seed=seed, is_viable=lambda _: True) for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]
    assert [len(drawn) for drawn in draws] == [8, 8, 8]


def test_a_dense_line_is_drawn_as_often_as_any_other(tmp_path: Path) -> None:
    mutants = _tree(tmp_path)
    lines = len({(mutant.path, mutant.line) for mutant in mutants})
    drawn = draw(mutants, sample=lines, seed=1, is_viable=lambda _: True)
    assert len({(mutant.path, mutant.line) for mutant in drawn}) == lines == 10


def test_without_a_sample_all_that_are_viable_are_drawn(tmp_path: Path) -> None:
    mutants = _tree(tmp_path)
    drawn = draw(mutants, sample=None, seed=1, is_viable=lambda mutant: mutant.operator != "return")
    assert drawn == [mutant for mutant in mutants if mutant.operator != "return"]
    assert draw(mutants, sample=10**6, seed=1, is_viable=lambda _: True) == mutants

"""Which tests a fault is shown to, and in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import pytest

from .choose import Chosen, choose
from .imports import Imports
from .measure import LEVELS
from .mutants import Mutant

if TYPE_CHECKING:
    from pathlib import Path

FILES = {
    "ectools/__init__.py": "",
    "ectools/low.py": "",
    "ectools/high.py": "from . import low\n".replace("from . import low", "from ectools.low import f"),
    "tests/support/made.py": "def made():\n    from ectools import high\n",
    "tests/unit/test_low.py": "from ectools.low import f\n",
    "tests/unit/test_high.py": "import ectools.high\n",
    "tests/unit/test_made.py": "from support.made import made\n",
    "tests/unit/test_other.py": "import json\n",
    "tests/unit/part/conftest.py": "from ectools import low\n",
    "tests/unit/part/test_part.py": "",
    "tests/e2e/test_all.py": "import ectools.low\n",
}


class FakeMeasured:
    """Six tests; ``covering`` says of every file the same."""

    seconds: ClassVar = {
        "tests/unit/test_high.py::test_a": 2.0,
        "tests/unit/test_high.py::test_b[1::2]": 1.0,
        "tests/unit/test_low.py::test_c": 9.0,
        "tests/unit/test_made.py::test_d": 0.5,
        "tests/unit/test_other.py::test_e": 0.1,
        "tests/unit/part/test_part.py::test_f": 0.1,
    }

    def covering(self, path: str) -> dict[int, set[str]]:
        return {
            3: {"tests/unit/test_high.py::test_b[1::2]", "tests/unit/test_low.py::test_c"},
            4: {"tests/unit/test_made.py::test_d"},
        }


@pytest.fixture
def imports(tmp_path: Path) -> Imports:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return Imports(tmp_path, FILES)


def names(chosen: Chosen) -> tuple[str, str]:
    """The letters of the tests."""
    near, far = ("".join(name.split("test_")[-1][0] for name in tests) for tests in (chosen.near, chosen.far))
    return near, far


@pytest.mark.parametrize(
    ("lines", "at_import", "expected"),
    [
        (range(3, 4), False, ("cb", "fda")),  # by its own file first, then the quickest file
        (range(2, 5), False, ("cdb", "fa")),
        (range(9, 10), False, ("", "cfdab")),  # nobody runs it
        (range(9, 10), True, ("cdb", "fa")),  # all that run anything of the file
    ],
)
def test_the_tests_of_a_line(
    imports: Imports, lines: range, at_import: bool, expected: tuple[str, str]
) -> None:
    mutant = Mutant(
        path="ectools/low.py", line=lines.start, operator="return", index=0, lines=lines, at_import=at_import
    )
    chosen = choose(mutant, level=LEVELS[0], measured=FakeMeasured(), imports=imports)  # type: ignore[arg-type]
    assert names(chosen) == expected


def test_imports_are_followed(imports: Imports) -> None:
    assert imports.direct("ectools/low.py", "tests/unit") == {"tests/unit/test_low.py"}
    assert imports.all("ectools/high.py", "tests/unit") == {
        f"tests/unit/test_{name}.py" for name in ("high", "made")
    }
    assert imports.all("ectools/low.py", "tests/unit") == {
        *(f"tests/unit/test_{name}.py" for name in ("low", "high", "made")),
        "tests/unit/part/test_part.py",
    }

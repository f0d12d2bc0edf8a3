"""Each way to fail yields its own class of error, with nix's message and position, on every nix here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from failure_cases import BUILDS, EVALUATIONS, FLAKE, STRING, Case, check

import pynix_eval_shim as shim

if TYPE_CHECKING:
    from collections.abc import Callable

    from pynix_eval_shim import Nix

pytestmark = pytest.mark.nix


@pytest.mark.parametrize("case", EVALUATIONS, ids=lambda case: case.name)
def test_evaluation(nix: Nix, case: Case) -> None:
    with pytest.raises(shim.NixError) as caught:
        getattr(shim, case.call)(**case.arguments, nix=nix)
    check(case, caught.value)


@pytest.mark.parametrize("case", BUILDS, ids=lambda case: case.name)
def test_build(private_store: Nix, case: Case) -> None:
    with pytest.raises(shim.NixError) as caught:
        getattr(shim, case.call)(**case.arguments, nix=private_store)
    check(case, caught.value)
    if isinstance(caught.value, shim.BuildFailedError | shim.MissingSystemFeatureError):
        assert caught.value.drv is not None
        assert caught.value.drv.endswith(".drv")


@pytest.mark.parametrize("call", ["throw", "abort"])
def test_a_message_with_other_ends_of_lines_is_whole(nix: Nix, call: str) -> None:
    message = "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\rh\ni"
    kind = shim.ThrownError if call == "throw" else shim.AbortedError
    with pytest.raises(kind) as caught:
        shim.evaluate(f"message: {call} message", data=message, nix=nix)
    assert message in caught.value.message


@pytest.mark.parametrize("call", [shim.evaluate, shim.parse])
def test_nothing_at_all_ends_at_its_first_column(nix: Nix, call: Callable[..., object]) -> None:
    with pytest.raises(shim.NixSyntaxError) as caught:
        call("", nix=nix)
    assert (caught.value.file, caught.value.line, caught.value.column) == (STRING, 1, 1)


def test_a_result_that_is_no_text(nix: Nix) -> None:
    with pytest.raises(shim.EvaluationError, match="UTF-8"):
        shim.evaluate('builtins.substring 0 1 "é"', nix=nix)


@pytest.mark.parametrize(
    "call",
    [
        lambda nix: shim.evaluate(installable="path:/a\0b#c", nix=nix),
        lambda nix: shim.evaluate(installable="path:/\ud800#c", nix=nix),
        lambda nix: shim.evaluate(file="/a\0b", nix=nix),
        lambda nix: shim.evaluate("1", impure=True, nix_path={"a": "b\0"}, nix=nix),
        lambda nix: shim.evaluate(installable="--help", nix=nix),
        lambda nix: shim.flake_check("--help", nix=nix),
    ],
)
def test_what_cannot_be_an_argument_is_rejected(nix: Nix, call: Callable[[Nix], object]) -> None:
    with pytest.raises(shim.DataError):
        call(nix)


def test_a_throw_stands_where_it_is_written(nix: Nix) -> None:
    with pytest.raises(shim.ThrownError) as caught:
        shim.evaluate(file=FLAKE / "throws.nix", data={"name": "x"}, nix=nix)
    place = f"{FLAKE}/throws.nix:3:14: "
    if shim.probe(nix=nix).release < (2, 13):
        # Nix itself did not say then.
        place = ""
    assert str(caught.value) == f"{place}no greeting for x"


def test_a_trace_has_the_callers_frames_and_none_of_the_shims(nix: Nix) -> None:
    expression = "let\n  inner = x: 1 + x;\n  outer = x: inner x;\nin\nouter null"
    with pytest.raises(shim.WrongTypeError) as caught:
        shim.evaluate(expression, nix=nix)
    places = [(frame.file, frame.line) for frame in caught.value.trace if frame.line is not None]
    assert (STRING, 3) in places
    assert (STRING, 5) in places
    assert all(file == STRING and 1 <= line <= 5 for file, line in places)
    assert caught.value.argv[0].endswith("nix-instantiate")
    assert "null" in caught.value.stderr
    assert "\x1b" not in caught.value.stderr


@pytest.mark.parametrize(
    "expression",
    [
        "import {}",
        "builtins.readFile {}",
        "builtins.readDir {}",
        'builtins.hashFile "sha256" {}',
        "builtins.path {{ path = {}; }}",
        '"${{{}}}"',
    ],
)
@pytest.mark.parametrize("path", ["/no/such", "/etc/passwd/below-a-file"])
def test_a_missing_file_has_one_class(nix: Nix, expression: str, path: str) -> None:
    with pytest.raises(shim.NoSuchFileError, match=path):
        shim.evaluate(expression.format(path), impure=True, nix=nix)


def test_a_thrown_message_about_a_file_is_thrown(nix: Nix) -> None:
    for words in ("getting status of '/x': No such file or directory", "path '/x' does not exist"):
        with pytest.raises(shim.ThrownError):
            shim.evaluate("words: throw words", data=words, nix=nix)

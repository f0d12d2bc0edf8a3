"""Attributes of a set one by one, on every nix: values exact, failures with their class, limits for one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
from failure_cases import FLAKE

import pynix_eval_shim as shim
from pynix_eval_shim import Limits
from pynix_eval_shim.attributes import Attribute, evaluate_each

if TYPE_CHECKING:
    from pynix_eval_shim import Nix

pytestmark = pytest.mark.nix

BROKEN = """
{
  a = 1;
  aborts = abort "x";
  floats = [ 0.1 (1.0e308 * 10) ];
  function = x: x;
  missing = { }.nope;
  "na me \\n${"$"}{x}" = "\\n\\\\ é \\u2028";
  package = { type = "derivation"; outPath = "/y"; drvPath = throw ""; };
  recursion = let x = x; in x;
  throws = throw "no b";
  z = { };
}
"""


def each(*arguments: str, nix: Nix, **more: Any) -> dict[str, Attribute]:
    found: list[Attribute] = []
    evaluate_each(*arguments, on_attribute=found.append, nix=nix, **more)
    assert len({attribute.name for attribute in found}) == len(found)
    return {attribute.name: attribute for attribute in found}


def test_one_that_fails_does_not_lose_the_others(nix: Nix) -> None:
    found = each(BROKEN, nix=nix)
    assert [*found] == sorted(found)
    assert {name: attribute.value for name, attribute in found.items() if attribute.error is None} == {
        "a": 1,
        "floats": [0.1, math.inf],
        "na me \n${x}": "\n\\ é u2028",
        "package": "/y",
        "z": {},
    }
    assert {name: type(attribute.error) for name, attribute in found.items() if attribute.error} == {
        "aborts": shim.AbortedError,
        "function": shim.WrongTypeError,
        "missing": shim.MissingAttributeError,
        "recursion": shim.InfiniteRecursionError,
        "throws": shim.ThrownError,
    }
    error = found["throws"].error
    assert error is not None
    assert (error.message, error.file, error.line) == ("no b", "«string»", 11)


def test_a_set_by_a_function_and_of_a_flake(nix: Nix) -> None:
    found = each("n: { a = n; b = throw n; }", nix=nix, data="x", apply="set: set // { c = 3; }")
    assert [(name, attribute.value) for name, attribute in found.items()] == [
        ("a", "x"),
        ("b", None),
        ("c", 3),
    ]
    names = shim.evaluate(installable=f"path:{FLAKE}#lib", apply="builtins.attrNames", nix=nix)
    assert [*each(installable=f"path:{FLAKE}#lib", nix=nix)] == names


@pytest.mark.parametrize(
    ("code", "kind"), [("[ 1 ]", "WrongType"), ('throw "set"', "Thrown"), ("{", "NixSyntax")]
)
def test_what_is_no_set_is_one_error(nix: Nix, code: str, kind: str) -> None:
    with pytest.raises(getattr(shim, f"{kind}Error")):
        each(code, nix=nix)


def test_an_empty_set_has_no_attributes(nix: Nix) -> None:
    assert each("{ }", nix=nix) == {}


def test_memory_is_bounded_for_one_and_not_for_the_sum(nix: Nix) -> None:
    limits = Limits(memory_bytes=400 << 20)
    large = "n: builtins.length (map toString (builtins.genList (x: x + n) {}))"
    code = f"{{ a = ({large.format(700_000)}) 1; b = ({large.format(700_000)}) 2; c = 3; }}"
    assert [found.value for found in each(code, nix=nix, limits=limits).values()] == [700_000, 700_000, 3]
    code = f"{{ a = 1; b = ({large.format(100_000_000)}) 2; c = 3; }}"
    found = each(code, nix=nix, limits=limits)
    assert isinstance(found["b"].error, shim.OutOfMemoryError)
    assert (found["a"].value, found["c"].value) == (1, 3)


def test_a_value_longer_than_the_output_may_be(nix: Nix) -> None:
    text = 'builtins.concatStringsSep "" (builtins.genList toString 30000)'
    found = each(f"{{ a = 1; b = {text}; c = 3; }}", nix=nix, limits=Limits(output_bytes=100_000))
    assert isinstance(found["b"].error, shim.OutputTooLargeError)
    assert (found["a"].value, found["c"].value) == (1, 3)


def test_what_is_printed_is_told_once(nix: Nix) -> None:
    told: list[str] = []
    code = 'builtins.trace "set" { a = builtins.trace "a" 1; b = throw ""; c = builtins.trace "c" 1; }'
    each(code, nix=nix, tell=lambda message: told.append(message.text))
    assert told == ["set", "a", "c"]

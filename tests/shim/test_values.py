"""Values go in and come out unchanged, whatever they are, and code is kept apart from them."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest
from failure_cases import FLAKE, REFERENCE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pynix_eval_shim as shim
from pynix_eval_shim import evaluate

if TYPE_CHECKING:
    from pathlib import Path

    from pynix_eval_shim import Nix

pytestmark = pytest.mark.nix

# Strings that renderers of Nix have been seen to get wrong, and neighbours of theirs.
HOSTILE = (
    "${x}",
    "$${x}",
    "''${x}",
    "\\${x}",
    "\\\\${x}",
    "a\n'${x}",
    "  a\n  b",
    "a\n  ",
    "a\n'",
    "a\rb",
    "a\r\n",
    '"',
    "\\",
    "''",
    "'''",
    "$",
    "\\u0024{x}",
    "\\n",
    "\t\x01\x1b[31m\x7f",
    "é 日本 \U0001f600 \u2028 \ufeff",
    "*/ # /*",
    '"; builtins.abort "out',
    "",
)
FLOATS = (
    0.1,
    1.0,
    -1.0,
    0.0,
    -0.0,
    1e22,
    1 / 3,
    123456.789,
    5e-324,
    2.2250738585072014e-308,
    1.7976931348623157e308,
    -1.7976931348623157e308,
    9007199254740993.0,
    4503599627370495.5,
)

_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
# A set that has one of these is, in nix's JSON, what the attribute says.
_names = _texts.filter(lambda name: name not in {"outPath", "__toString"})
_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _texts,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(_names, inner, max_size=5),
    max_leaves=20,
)


def exactly(value: Any) -> str:
    """A text that two values share only where they are the same JSON: 1 is not 1.0, and 0.0 is not -0.0."""
    return json.dumps(value, sort_keys=True)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(_json, min_size=20, max_size=60))
def test_any_json_comes_back_as_it_was(nix: Nix, values: list[Any]) -> None:
    assert exactly(evaluate("data: data", data=values, nix=nix)) == exactly(values)


@pytest.mark.parametrize(
    "values", [HOSTILE, FLOATS, (2**63 - 1, -(2**63), 0, -1)], ids=["texts", "floats", "integers"]
)
def test_corner_cases_come_back_as_they_were(nix: Nix, values: tuple[Any, ...]) -> None:
    assert exactly(evaluate("data: data", data=values, nix=nix)) == exactly(list(values))
    named = {str(index): {"value": value, "again": [value]} for index, value in enumerate(values)}
    assert exactly(evaluate("data: data", data=named, nix=nix)) == exactly(named)


def test_a_hostile_text_is_that_text_within_nix(nix: Nix) -> None:
    # The round trip could hide an error made twice; lengths in bytes, which nix counts, could not.
    lengths = evaluate("map builtins.stringLength", data=HOSTILE, nix=nix)
    assert lengths == [len(text.encode()) for text in HOSTILE]


def test_hostile_texts_as_names(nix: Nix) -> None:
    data = {text: index for index, text in enumerate(HOSTILE)}
    assert evaluate("data: data", data=data, nix=nix) == data


def test_five_megabytes_when_pure(nix: Nix) -> None:
    text = '"\\${$x}' * 700_000
    result = evaluate("data: { length = builtins.stringLength data; inherit data; }", data=text, nix=nix)
    assert result["length"] == len(text)
    assert result["data"] == text


@pytest.mark.parametrize("size", [10, 200_000, 5_000_000])
def test_data_for_an_installable(nix: Nix, size: int) -> None:
    name = "${x}\\" * (size // 5)
    assert evaluate(installable=f"{REFERENCE}#lib.greet", data={"name": name}, nix=nix) == f"hello {name}"


def test_code_for_an_installable_that_is_too_long(nix: Nix) -> None:
    with pytest.raises(shim.NixError) as caught:
        evaluate(installable=f"{REFERENCE}#lib.value", apply=f"{' ' * 200_000}value: 1", nix=nix)
    assert "argument" in str(caught.value.hint)


def test_floats_that_json_lacks(nix: Nix) -> None:
    values = evaluate("let big = 1.0e308 * 10; in [ big (0 - big) (big - big) ]", nix=nix)
    assert values[:2] == [math.inf, -math.inf]
    assert math.isnan(values[2])


def test_computed_floats_are_exact(nix: Nix) -> None:
    assert evaluate("[ (0.1 + 0.2) (1.0 / 3) (0 - 2.5e-5) 1.0e15 ]", nix=nix) == [
        0.1 + 0.2,
        1.0 / 3,
        -2.5e-5,
        1e15,
    ]


def test_null_is_data(nix: Nix) -> None:
    assert evaluate("data: data == null", data=None, nix=nix) is True


def test_apply_comes_last(nix: Nix) -> None:
    assert evaluate("n: { a = n; }", data=20, apply="set: set.a * 2 + 2", nix=nix) == 42
    assert evaluate(installable=f"{REFERENCE}#lib.value", apply="value: value.number", nix=nix) == 1.5


def test_long_code(nix: Nix) -> None:
    numbers = " ".join(str(number) for number in range(60_000))
    assert evaluate(f"n: builtins.length [ {numbers} ] + n", data=1, apply="n: n + 1", nix=nix) == 60_002


def test_paths_and_derivations_are_strings(nix: Nix, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    expression = """path: {
      path = /. + path;
      derivation = derivation { name = "a"; system = "s"; builder = "b"; };
      text = { __toString = self: "text of ${self.name}"; name = "self"; };
      inner = [ { outPath = /. + path; } ];
    }"""
    value = evaluate(expression, data=f"{tmp_path}/file", impure=True, nix=nix)
    assert value["path"] == f"{tmp_path}/file"
    assert value["derivation"].startswith("/nix/store/")
    assert value["text"] == "text of self"
    assert value["inner"] == [f"{tmp_path}/file"]


def test_a_file_and_what_it_imports(nix: Nix, tmp_path: Path) -> None:
    directory = tmp_path / 'a "directory" ${x}'
    directory.mkdir()
    (directory / "default.nix").write_text("{ n }: import ./other.nix + n")
    (directory / "other.nix").write_text("40")
    assert evaluate(file=directory, data={"n": 2}, nix=nix) == 42
    assert evaluate(file=directory.name, cwd=tmp_path, data={"n": 2}, nix=nix) == 42
    assert evaluate("n: import ./default.nix n", cwd=directory, impure=True, data={"n": 2}, nix=nix) == 42


def test_search_path(nix: Nix, tmp_path: Path) -> None:
    (tmp_path / "thing.nix").write_text("7")
    assert evaluate("import <thing>", impure=True, nix_path={"thing": f"{tmp_path}/thing.nix"}, nix=nix) == 7


def test_pure_unless_told_otherwise(nix: Nix) -> None:
    assert evaluate("builtins ? currentSystem", nix=nix) is False
    assert evaluate("builtins ? currentSystem", impure=True, nix=nix) is True


def test_an_input_of_a_flake_is_overridden_and_no_lock_file_written(nix: Nix, tmp_path: Path) -> None:
    (tmp_path / "flake").mkdir()
    (tmp_path / "flake/flake.nix").write_text(
        '{ inputs.dep.url = "path:/no/flake"; outputs = { self, dep }: { value = dep.lib.value.text; }; }'
    )
    value = evaluate(installable=f"path:{tmp_path}/flake#value", override_inputs={"dep": REFERENCE}, nix=nix)
    assert value == "text"
    assert [path.name for path in (tmp_path / "flake").iterdir()] == ["flake.nix"]


def test_building_during_evaluation_has_to_be_allowed(private_store: Nix) -> None:
    system = shim.probe(nix=private_store).system
    expression = """system: builtins.readFile (derivation {
      name = "imported"; inherit system; builder = "/bin/sh"; args = [ "-c" "echo built > $out" ];
    })"""
    with pytest.raises(shim.ImportFromDerivationError):
        evaluate(expression, data=system, nix=private_store)
    assert evaluate(expression, data=system, import_from_derivation=True, nix=private_store) == "built\n"


def test_warnings_and_traces_reach_the_log(nix: Nix, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="pynix_eval_shim")
    assert evaluate('builtins.trace "looked at ${toString 7}" 1', nix=nix) == 1
    assert "looked at 7" in caplog.text


def test_parse_accepts_what_cannot_be_evaluated(nix: Nix) -> None:
    shim.parse('{ x }: throw "never" + x.y.z', nix=nix)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "exactly one"),
        ({"expression": "1", "file": FLAKE}, "exactly one"),
        ({"expression": "1", "nix_path": {"a": "b"}}, "impure"),
        ({"expression": "1", "override_inputs": {"a": "b"}}, "installable"),
    ],
)
def test_arguments_that_contradict_each_other(nix: Nix, arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(TypeError, match=says):
        evaluate(**arguments, nix=nix)


LOUD = """
  builtins.trace "a\\nb" (builtins.trace { c = 1; } (
    (import <nixpkgs/lib>).warn "careful" (builtins.trace "trace: warning: d" 3)))
"""


def test_what_an_evaluation_prints_is_told_in_its_order(nix: Nix, nixpkgs: Path) -> None:
    told: list[shim.NixMessage] = []
    path = {"nixpkgs": str(nixpkgs)}
    assert shim.evaluate(LOUD, impure=True, nix_path=path, nix=nix, tell=told.append) == 3
    assert [(message.kind.value, message.text) for message in told[:1]] == [("trace", "a\nb")]
    assert ("warning", "careful") in [(message.kind.value, message.text) for message in told]
    assert len(told) == 4


def test_what_a_failed_evaluation_printed_is_told_too(nix: Nix) -> None:
    told: list[shim.NixMessage] = []
    with pytest.raises(shim.ThrownError):
        shim.evaluate('builtins.trace "before" (throw "x")', nix=nix, tell=told.append)
    assert [message.text for message in told] == ["before"]

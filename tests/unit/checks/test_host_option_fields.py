"""Options of a host: names, which host is meant, what Nix answers field by field, and how it is shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ectools.checks import host_options
from ectools.checks.evaluation import EvaluationRequest, FailedEvaluationError
from ectools.checks.host_options import (
    HostOption,
    ResultKind,
    describe_missing,
    find_configuration,
    parse_option_name,
    read_host_options,
)
from ectools.checks.host_options_text import write_option_text
from ectools.errors import InputError
from pynix_eval_shim import EvaluationError, ThrownError

FAILURE = FailedEvaluationError(ThrownError("no port"))


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("", ()),
        ("a", ("a",)),
        ("a.b-c.d'", ("a", "b-c", "d'")),
        ('a."b.c"."\\"\\\\"', ("a", "b.c", '"\\')),
        ("users.<name>.*", ("users", "<name>", "*")),
        ("a.", ("a", "")),
    ],
)
def test_the_parts_of_a_name(name: str, parts: tuple[str, ...]) -> None:
    assert parse_option_name(name) == parts


@pytest.mark.parametrize("name", [".a", "a..b", 'a"b"', '"a"b', '"a'])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(InputError, match="not the name of an option") as caught:
        parse_option_name(name)
    assert "quotes" in (caught.value.hint or "")


class TestHost:
    def test_of_a_flake(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("socket.gethostname", lambda: "this")
        assert find_configuration(flake=".#h-1").flake == '.#nixosConfigurations."h-1"'
        assert find_configuration(flake="r#homeConfigurations.me").flake == "r#homeConfigurations.me"
        assert find_configuration(flake="r").flake == 'r#nixosConfigurations."this"'

    def test_this_machine(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("NIX_PATH", raising=False)
        with pytest.raises(InputError, match="no host here") as caught:
            find_configuration(flake=None, directory=tmp_path)
        assert "--flake" in (caught.value.hint or "")
        own = tmp_path / "configuration.nix"
        own.touch()
        assert find_configuration(flake=None, directory=tmp_path).file == own
        named = tmp_path / "named.nix"
        named.touch()
        monkeypatch.setenv("NIX_PATH", f"nixpkgs=/x:nixos-config={named}")
        assert find_configuration(flake=None, directory=tmp_path).file == named
        (tmp_path / "flake.nix").touch()
        monkeypatch.setattr("socket.gethostname", lambda: "this")
        assert (
            find_configuration(flake=None, directory=tmp_path).flake
            == f'{tmp_path}#nixosConfigurations."this"'
        )


def test_fields_make_options(monkeypatch: pytest.MonkeyPatch) -> None:
    questions: list[Any] = []

    def attributes(request: EvaluationRequest, *, on_attribute: Any, tell: Any) -> None:
        assert (request.expression, request.impure, tell) == ("e", True, None)
        questions.append(json.loads(Path(request.search_path["ectools-request"]).read_text()))
        on_attribute("1:kind", {"path": ["s"], "kind": "set", "names": ["a", "b"]}, None)
        on_attribute("0:default", {"value": {"set": {"a": {"float": [1, -1]}}}}, None)
        on_attribute("0:definitions", None, FAILURE)
        on_attribute("0:example", None, None)
        on_attribute("0:files", ["/m.nix"], None)
        on_attribute("0:kind", {"path": ["a", "b.c"], "kind": "option"}, None)
        on_attribute("0:value", {"text": "<function>"}, None)
        on_attribute("2:definitions", [{"file": "/m", "value": {"value": [1]}}], None)
        on_attribute("2:kind", {"path": ["v"], "kind": "value"}, None)

    monkeypatch.setattr(host_options, "evaluate_attributes", attributes)
    option, group, value = read_host_options(EvaluationRequest(expression="e"), [("a", "b.c"), ("s",)])
    assert questions == [{"names": [["a", "b.c"], ["s"]], "recursive": False, "file": None}]
    assert option.show_json() == {
        "name": 'a."b.c"',
        "path": ["a", "b.c"],
        "kind": "option",
        "default": {"value": {"a": 0.5}},
        "example": None,
        "value": {"text": "<function>"},
        "definitions": [{"file": "/m.nix"}],
        "errors": {"definitions": FAILURE.show_json()},
    }
    assert group.show_json() == {"name": "s", "path": ["s"], "kind": "set", "names": ["a", "b"]}
    assert value.fields == {"definitions": [{"file": "/m", "value": {"value": [1]}}]}


def test_a_name_that_is_nobodys() -> None:
    missing = HostOption(path=("a", "prot", "x"), kind=ResultKind.MISSING, at=("a",), names=("port", "q"))
    assert describe_missing(missing) == "a.prot.x: a has no prot; did you mean a.port?"
    assert describe_missing(HostOption(path=("x",), kind=ResultKind.MISSING)) == "x: no such option"


class TestText:
    def test_a_set(self) -> None:
        group = HostOption(path=("s",), kind=ResultKind.SET, names=("a", "b.c"))
        assert write_option_text(group) == 's\n  a\n  "b.c"'

    def test_an_option_with_everything(self) -> None:
        option = HostOption(
            path=("a",),
            kind=ResultKind.OPTION,
            fields={
                "value": {"value": {"x": 1}},
                "default": {"value": 1},
                "defaultText": {"text": "config.x"},
                "type": "integer",
                "readOnly": True,
                "example": {"markdown": "*any*"},
                "description": "What it\nis.\n",
                "declarations": [{"file": "/m.nix", "line": 3}, {"file": "/n.nix", "line": None}],
                "definitions": [{"file": "/h.nix", "value": {"value": "x"}}, {"file": "/g.nix"}],
                "state": {"isDefined": True, "priority": 50},
            },
        )
        assert write_option_text(option).splitlines() == [
            "a",
            *("  Value:", "    { x = 1; }"),
            *("  Default:", "    config.x"),
            *("  Type:", "    integer, read only"),
            *("  Example:", "    *any*"),
            *("  Description:", "    What it", "    is."),
            *("  Declared in:", "    /m.nix:3", "    /n.nix"),
            *("  Defined in, by mkForce:", "    /h.nix", '      "x"', "    /g.nix"),
        ]

    def test_what_cannot_be_evaluated(self) -> None:
        option = HostOption(
            path=("a",),
            kind=ResultKind.OPTION,
            fields={"definitions": [{"file": "/m.nix"}], "state": {"priority": 7}},
            errors={"value": FAILURE, "default": FailedEvaluationError(EvaluationError("odd"))},
        )
        assert write_option_text(option).splitlines() == [
            "a",
            *("  Value:", "    error: thrown: no port"),
            *("  Default:", "    error: evaluation: odd"),
            *("  Defined in, by mkOverride 7:", "    /m.nix"),
        ]

    @pytest.mark.parametrize(("priority", "names"), [(1500, ["/m.nix"]), (100, [])])
    def test_what_nothing_defines(self, priority: int, names: list[str]) -> None:
        definitions = [{"file": name, "value": {"value": 1}} for name in names]
        fields = {"value": None, "definitions": definitions, "state": {"priority": priority}}
        option = HostOption(path=("a",), kind=ResultKind.OPTION, fields=fields)
        assert write_option_text(option).splitlines() == [
            "a",
            *("  Value:", "    none"),
            *("  Defined in:", "    nothing"),
        ]

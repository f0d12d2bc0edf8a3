"""Modules and examples from host descriptions and schemas, as golden files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support import golden
from support.host_contract import CONTRACT

from ectools import host
from ectools.host.combined_schema import load_combined_schema
from ectools.host.example import build_example
from ectools.schemas import Schema

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"

EVERYTHING = r"""
[services.test]
enable = true
package = "pkgs.hello"
extraPackages = ["jq", "pkgs.python3Packages.requests"]
fallback = "or.let"
name = "it's a ${name}\nof two lines"
port = 8080
offset = -5
ratio = 2
weights = [1, -2, 0.5]
amount = 3
root = "/run/secrets/${token}"
args = ["-m", "''${x}", ""]

[services.test.env]
"odd name" = "x"
if = "keyword"
LEAST = -9223372036854775808

[services.test.disks."a.b"]
path = "./relative"
[services.test.disks.empty]
path = ""

[services.test.listen.tls]
"""


def generate(text: str, *, file: str = "somewhere/host.toml") -> str:
    description = host.parse_host(text.encode(), file=file, form=host.HostFormat.TOML)
    assert host.validate_host(description, CONTRACT) == []
    return host.build_module(description, CONTRACT)


def test_every_kind_of_value() -> None:
    golden.compare("host/everything.nix", generate(EVERYTHING))


def test_the_example() -> None:
    golden.compare("host/example.nix", host.build_module(host.load_host(EXAMPLES / "host.toml")))


def test_pkgs_is_a_parameter_only_where_it_is_used() -> None:
    assert "\n{ ... }: {\n" in generate("[services.test]\nenable = true")
    assert "\n{ pkgs, ... }: {\n" in generate('[services.test]\npackage = "hello"')


@pytest.mark.parametrize(
    ("text", "module"),
    [
        ("", "{ ... }: { }\n"),
        ("[services]", "{ ... }: { services = { }; }\n"),
        ("[services.test]", "{ ... }: { services.test = { }; }\n"),
        ("[services.test.listen.tls]", "{ ... }: { services.test = { }; }\n"),
    ],
)
def test_nothing_set(text: str, module: str) -> None:
    assert generate(text).split("\n", 1)[1] == module


def test_a_file_name_stays_in_its_comment() -> None:
    text = generate("[services.test]\nenable = true", file="a\nb\r}; evil.toml")
    assert next(line for line in text.splitlines() if "evil" in line).startswith("#")


def test_the_example_to_start_from() -> None:
    golden.compare("host/init.toml", build_example(CONTRACT.document))


CONTRACTS = pytest.mark.parametrize("contract", [CONTRACT, load_combined_schema()], ids=["made up", "ours"])


@CONTRACTS
def test_the_example_to_start_from_is_valid_as_it_is(contract: Schema) -> None:
    text = build_example(contract.document)
    description = host.parse_host(text.encode(), file="h", form=host.HostFormat.TOML)
    assert host.validate_host(description, contract) == []
    assert "\nenable = true\n" in text


@CONTRACTS
def test_each_option_of_the_example_can_be_uncommented(contract: Schema) -> None:
    text = re.sub(r"^# (?=[\w\"-]+ = )", "", build_example(contract.document), flags=re.MULTILINE)
    description = host.parse_host(text.encode(), file="h", form=host.HostFormat.TOML)
    assert host.validate_host(description, contract) == []

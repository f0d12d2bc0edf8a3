"""One service's settings where a host description is read: validated and generated as that service's."""

from __future__ import annotations

import pytest

from ectools import host
from ectools.documents.load import HostDescription, HostFormat, parse_host
from ectools.host.combined_schema import build_combined_schema, load_combined_schema
from ectools.host.wrapped import wrap_settings
from ectools.schemas import load_schema

STORE = f"/nix/store/{'a' * 32}-ipxe"


def wrap(text: str, form: HostFormat = HostFormat.JSON) -> HostDescription:
    return wrap_settings(parse_host(text.encode(), file="f", form=form), load_combined_schema())


def test_settings_are_their_services_which_is_enabled() -> None:
    found = wrap('{"listenIP": "192.0.2.10", "stateDir": "/x"}')
    service = {"enable": True, "listenIP": "192.0.2.10", "stateDir": "/x"}
    assert found.root.value == {"services": {"every-channel": {"netboot": service}}}
    assert host.validate_host(found) == []
    assert "services.every-channel.netboot = {" in host.build_module(found)
    assert "ipxe-qemu" in wrap("vcpus = 2", HostFormat.TOML).root.value["services"]["every-channel"]


def test_a_problem_has_its_place_in_the_settings() -> None:
    (problem,) = host.validate_host(wrap('{"listenIP": "192.0.2.10",\n "httpPort": -1}'))
    assert (problem.option, problem.line, problem.column) == (
        "services.every-channel.netboot.httpPort",
        2,
        14,
    )


def test_what_nix_has_built_is_left_out_and_nothing_else() -> None:
    text = f'{{"listenIP": "192.0.2.10", "ipxe": {{"package": "{STORE}", "localFile": "{STORE}"}}}}'
    service = wrap(text).root.value["services"]["every-channel"]["netboot"]
    assert service["ipxe"] == {"localFile": STORE}
    (problem,) = host.validate_host(wrap('{"listenIP": "192.0.2.10", "ipxe": {"package": "/usr"}}'))
    assert problem.option == "services.every-channel.netboot.ipxe.package"


@pytest.mark.parametrize(
    "text", ['{"services": {"listenIP": 1}}', "{}", '{"enable": true}', '{"service": {"listenIP": 1}}']
)
def test_what_may_be_of_two_services_or_of_none_stays_a_host_description(text: str) -> None:
    description = parse_host(text.encode(), file="f", form=HostFormat.JSON)
    assert wrap_settings(description, load_combined_schema()) is description


def test_a_schema_without_the_services_wraps_nothing() -> None:
    schema = build_combined_schema([load_schema("ec-runner")])
    description = parse_host(b'{"listenIP": "192.0.2.10"}', file="f", form=HostFormat.JSON)
    assert wrap_settings(description, schema) is description

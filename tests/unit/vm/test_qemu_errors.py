"""QEMU's own words (7.2, and where they differ 10) → the option they are about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ectools.errors import ProblemsError
from ectools.vm.qemu_errors import raise_for_settings
from ectools.vm.settings import GUEST_OPTIONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from ectools.vm.settings import GuestSettings

BLAMED: list[tuple[dict[str, Any], str, str]] = [
    ({}, "unsupported machine type", "machine"),
    ({}, "Property 'pc-q35-7.2-machine.foo' not found", "machine"),
    ({}, "unable to find CPU model 'nonsense'", "cpu"),
    ({}, "can't apply global max-x86_64-cpu.x=on: Property 'max-x86_64-cpu.x' not found", "cpu"),
    ({}, "Invalid SMP CPUs 300. The max CPUs supported by machine 'pc-q35-7.2' is 288", "vcpus"),
    ({}, "cannot set up guest memory 'pc.ram': Cannot allocate memory", "memoryMiB"),
    ({}, "Parameter 'boot.menu' expects 'on' or 'off'", "boot.order"),
    ({"serial": "foo"}, "-serial foo: 'foo' is not a valid char driver", "serial"),
    (
        {"boot": {"userNet": {"model": "foo"}}},
        "-device foo,netdev=boot0: 'foo' is not a valid device model name",
        "boot.userNet.model",
    ),
    (
        {"lan": {"enable": True, "model": "bar", "macvtap": {"interface": "eth0"}}},
        "-device bar,netdev=lan0,mac=02:00:00:00:00:01: 'bar' is not a valid device model name",
        "lan.model",
    ),
    ({}, '-blockdev {"driver": "qcow2"}: Failed to get "write" lock', "disk.path"),
    ({"extraArgs": ["-foo"]}, "-foo: invalid option", "extraArgs"),
]


@pytest.mark.parametrize(("change", "message", "option"), BLAMED, ids=[option for _, _, option in BLAMED])
def test_an_option_is_blamed(
    change: dict[str, Any], message: str, option: str, settings_of: Callable[..., GuestSettings]
) -> None:
    with pytest.raises(ProblemsError) as caught:
        raise_for_settings(settings_of(change), ["warning", f"qemu-system-x86_64: {message}", "more"])
    (problem,) = caught.value.problems
    assert problem.option == f"{GUEST_OPTIONS}.{option}"
    assert problem.message == f"QEMU says: {message}"
    assert problem.expected


def test_what_blames_no_option_is_left_alone(settings_of: Callable[..., GuestSettings]) -> None:
    raise_for_settings(settings_of(), ["qemu-system-x86_64: the moon is full", ""])

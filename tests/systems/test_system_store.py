"""A runner whose stage 1 fetches its Nix store, from the product's own boot server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.nixos_build import Flake
from support.nixos_machine import MAC

from .booted import boot_release
from .journal import Form
from .promises import check_memory_system, check_network, check_power_off, check_system, check_up
from .release import pack_fetching

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.nix,
    pytest.mark.qemu,
    pytest.mark.netns,
    pytest.mark.slow,
    pytest.mark.full,
    pytest.mark.timeout(3600),
]


def test_a_machine_fetches_its_store(flake: Flake, tmp_path: Path) -> None:
    release = pack_fetching(flake, tmp_path)
    # Not enough for the image twice and the system beside it.
    with boot_release(release, tmp_path, memory_mib=1024) as booted:
        machine = booted.machine
        check_up(machine, machine.wait_boot(), Form.NETBOOT)
        check_system(machine, release.toplevel, release.closure)
        check_memory_system(machine)
        check_network(machine, booted.lab, MAC)
        said = machine.run("journalctl", "--boot", "--unit=every-channel-store.service", "--output=cat")
        assert "the Nix store: whole, and as it was released" in said
        assert "100 % of " in machine.read_console()
        check_power_off(machine)

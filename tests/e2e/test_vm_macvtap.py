"""The LAN NIC over a real macvtap link, in network namespaces."""

from __future__ import annotations

import json
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest
from support.guests import (
    Runner,
    argv_of,
    empty_root,
    process_status,
    run_to_end,
    settings_for,
    stage,
    start_runner,
    unprivileged,
)
from support.lan import SUBNET, Lan, build_lan, run

from ectools.vm.macvtap import build_mark

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.qemu, pytest.mark.netns]

NAME = "ecqemu0"
PREFIX = "services.every-channel.ipxe-qemu"


@pytest.fixture
def lan(tmp_path: Path) -> Iterator[Lan]:
    (tmp_path / "lan").mkdir()
    with build_lan(tmp_path / "lan") as lan:
        yield lan


def lan_settings(directory: Path, root: Path | None = None, **macvtap: Any) -> dict[str, Any]:
    root = root or (directory / "root" if (directory / "root").exists() else empty_root(directory / "root"))
    times = {"powerdownSeconds": 0, "quitSeconds": 60, "terminateSeconds": 60}
    lan = {"enable": True, "macvtap": {"interface": "uplink", **macvtap}}
    return settings_for(directory / "state", root, lan=lan, shutdown=times)


def lan_link(lan: Lan, settings: dict[str, Any], directory: Path, *arguments: str) -> None:
    """Make the link, or remove it, as root."""
    config = directory / "lan-link.json"
    config.write_text(json.dumps(settings))
    argv = [
        sys.executable,
        "-P",
        "-m",
        "ectools.cli.main",
        "vm",
        "lan-link",
        "--config",
        str(config),
        *arguments,
    ]
    run([*lan.wrapper, *argv])


def lan_mac(runner: Runner) -> str:
    """The address of the guest's LAN NIC, as QEMU was told."""
    (device,) = [word for word in argv_of(runner.wait_guest_pid()) if ",netdev=lan0" in word]
    return device.partition(",mac=")[2]


def test_a_guest_gets_a_lease_from_the_lan(lan: Lan, tmp_path: Path) -> None:
    """As the unit runs it: without any right, over a link that another process made."""
    user = unprivileged(tmp_path, capabilities="+dac_read_search")
    root = stage(tmp_path / "root", cmdline="ec.mark=lan")
    settings = lan_settings(tmp_path, root)
    lan_link(lan, settings, tmp_path, "--user", "nobody")
    with start_runner(settings, tmp_path, wrapper=[*lan.wrapper, *user]) as runner:
        qemu = runner.wait_guest_pid()
        mac = lan_mac(runner)
        link = lan.link(NAME)
        assert link is not None
        assert link["address"] == mac
        assert link["ifalias"] == build_mark(tmp_path / "state/disk.qcow2")
        assert link["linkinfo"]["info_data"]["mode"] == "bridge"
        assert int(process_status(qemu)["CapEff"], 16) == 0
        up = runner.wait_up("lan")
        assert "eth0=10.0.2.15" in up["line"]
        assert f"eth1={SUBNET}." in up["line"]
        assert mac in lan.macs()
        runner.terminate()
        assert runner.wait() == 0
    # It stays for the next start, until it is removed.
    assert lan.link(NAME) == link
    lan_link(lan, settings, tmp_path, "--remove")
    assert lan.link(NAME) is None
    # The same address of a new one.
    lan_link(lan, settings, tmp_path, "--user", "nobody")
    with start_runner(settings, tmp_path, wrapper=[*lan.wrapper, *user]) as again:
        assert lan_mac(again) == mac


def test_a_link_that_was_made_for_others_is_not_opened(lan: Lan, tmp_path: Path) -> None:
    user = unprivileged(tmp_path)
    settings = lan_settings(tmp_path)
    lan_link(lan, {**settings, "stateDir": str(tmp_path / "other")}, tmp_path, "--user", "nobody")
    status, runner = run_to_end(settings, tmp_path, wrapper=[*lan.wrapper, *user])
    assert status == 1
    assert "a link of that name which this guest did not make" in runner.text[0]
    lan_link(lan, {**settings, "stateDir": str(tmp_path / "other")}, tmp_path, "--remove")
    lan_link(lan, settings, tmp_path, "--user", "daemon")
    status, runner = run_to_end(settings, tmp_path, wrapper=[*lan.wrapper, *user])
    assert status == 1
    assert "cannot be opened: Permission denied" in runner.text[0]


def test_a_link_is_removed_as_it_was_made_though_the_settings_are_others_now(
    lan: Lan, tmp_path: Path
) -> None:
    """As where a switch leaves the guest running, and its unit is restarted with the new settings."""
    record = ("--record", str(tmp_path / "link.json"))
    before = lan_settings(tmp_path)
    after = {**lan_settings(tmp_path, name="other0"), "stateDir": str(tmp_path / "other")}
    lan_link(lan, before, tmp_path, "--user", "nobody", *record)
    lan_link(lan, after, tmp_path, "--remove", *record)
    assert lan.link(NAME) is None
    lan_link(lan, before, tmp_path, "--user", "nobody", *record)
    # The same address, which two links of one interface cannot have.
    lan_link(lan, {**before, "lan": after["lan"]}, tmp_path, "--user", "nobody")
    assert lan.link(NAME) is None
    assert lan.link("other0") is not None
    lan_link(lan, after, tmp_path, "--user", "nobody", *record)
    lan_link(lan, {**after, "lan": {"enable": False}}, tmp_path, "--remove", *record)
    assert lan.link("other0") is None


def test_the_link_of_a_runner_that_was_killed_is_made_anew(lan: Lan, tmp_path: Path) -> None:
    settings = lan_settings(tmp_path)
    with start_runner(settings, tmp_path, wrapper=lan.wrapper) as runner:
        mac = lan_mac(runner)
        runner.process.send_signal(signal.SIGKILL)
        runner.process.wait()
    left = lan.link(NAME)
    assert left is not None
    # Another guest, with a disk of its own, does not take it for its own.
    other = {**settings, "stateDir": str(tmp_path / "other")}
    status, failed = run_to_end(other, tmp_path, wrapper=lan.wrapper)
    assert status == 1
    assert "its alias is every-channel-ipxe-qemu:" in failed.text[0]
    assert lan.link(NAME) == left
    with start_runner(settings, tmp_path, wrapper=lan.wrapper) as second:
        assert lan_mac(second) == mac
        made = lan.link(NAME)
        assert made is not None
        assert made["ifindex"] != left["ifindex"]
        second.terminate()
        assert second.wait() == 0
    assert lan.link(NAME) is None


def test_the_link_goes_with_a_qemu_that_dies(lan: Lan, tmp_path: Path) -> None:
    settings = {**lan_settings(tmp_path), "machine": "no-such-machine"}
    status, runner = run_to_end(settings, tmp_path, wrapper=lan.wrapper)
    assert status == 2
    assert runner.events("macvtap link made")
    assert lan.link(NAME) is None


def test_a_link_that_goes_while_the_guest_runs_is_told_and_made_anew_at_the_next_start(
    lan: Lan, tmp_path: Path
) -> None:
    settings = lan_settings(tmp_path)
    with start_runner(settings, tmp_path, wrapper=lan.wrapper) as runner:
        mac = lan_mac(runner)
        runner.wait_event("the guest runs")
        # As an interface does that is made anew, and what stands on it goes with it.
        lan.ip("link", "delete", NAME)
        told = runner.wait_event(
            "the link of the guest's LAN is gone: the guest has none until it is started again"
        )
        assert told["level"] == "error"
        runner.terminate()
        assert runner.wait() == 0
    with start_runner(settings, tmp_path, wrapper=lan.wrapper) as again:
        assert lan_mac(again) == mac


def test_a_foreign_link_is_never_deleted(lan: Lan, tmp_path: Path) -> None:
    lan.ip("link", "add", "link", lan.uplink, "name", NAME, "type", "macvtap", "mode", "bridge")
    before = lan.link(NAME)
    status, runner = run_to_end(lan_settings(tmp_path), tmp_path, wrapper=lan.wrapper)
    assert status == 1
    assert f"{NAME}: there is a link of that name which this guest did not make" in runner.text[0]
    assert f"{PREFIX}.lan.macvtap.name" in runner.text[1]
    assert lan.link(NAME) == before
    assert not runner.events("QEMU started")


def test_an_interface_that_is_not_there_or_down(lan: Lan, tmp_path: Path) -> None:
    status, runner = run_to_end(lan_settings(tmp_path, interface="eth9"), tmp_path, wrapper=lan.wrapper)
    assert status == 2
    assert f"{PREFIX}.lan.macvtap.interface: there is no interface eth9" in runner.text[0]
    # It may come up later: the guest is started.
    lan.ip("link", "set", lan.uplink, "down")
    with start_runner(lan_settings(tmp_path), tmp_path, wrapper=lan.wrapper) as runner:
        runner.wait_guest_pid()
    (warning,) = runner.events("the LAN's interface is down: until it is up, the guest has no LAN")
    assert warning["level"] == "warning"


def test_without_the_capability_the_start_fails_and_says_so(lan: Lan, tmp_path: Path) -> None:
    user = unprivileged(tmp_path)
    status, runner = run_to_end(lan_settings(tmp_path), tmp_path, wrapper=[*lan.wrapper, *user])
    assert status == 1
    assert "there is no such link, and this user may not make it" in runner.text[0]
    assert "CAP_NET_ADMIN" in runner.text[1]


@pytest.mark.parametrize("mode", ["private", "vepa", "source", "passthru"])
def test_the_other_modes(mode: str, lan: Lan, tmp_path: Path) -> None:
    address = None if mode == "passthru" else "02:EC:00:00:00:07"
    settings = lan_settings(tmp_path, mode=mode, name="other0", macAddress=address)
    with start_runner(settings, tmp_path, wrapper=lan.wrapper) as runner:
        mac = lan_mac(runner)
        link, lower = lan.link("other0"), lan.link(lan.uplink)
        assert link is not None
        assert lower is not None
        assert link["linkinfo"]["info_data"]["mode"] == mode
        assert mac == link["address"]
        assert mac == (lower["address"] if mode == "passthru" else "02:ec:00:00:00:07")
        runner.terminate()
        assert runner.wait() == 0
    assert lan.link("other0") is None

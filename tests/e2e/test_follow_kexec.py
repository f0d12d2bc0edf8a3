"""A node that follows by kexec, as far as the last call: what it loads, by which arguments, and when not."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from support.boot_http import wait_until
from support.boot_service import boot_service, require_boot_services
from support.hostile_boot import (
    FORMS,
    NEXT,
    NEXT_TOKEN,
    STORE_PATH,
    TOKEN,
    BootHost,
    Publisher,
    follow,
    require_node_programs,
    serve,
)
from support.served_rollout import NODES, ask_script, prepare, report, rollout

from ectools.netboot.settings.model import SignatureFormat


@pytest.fixture(autouse=True)
def _needs() -> None:
    require_node_programs()


def make_host(form: SignatureFormat = SignatureFormat.OPENSSL) -> BootHost:
    return BootHost(publisher=Publisher(form), store_path=STORE_PATH)


@pytest.mark.parametrize("form", FORMS)
def test_it_starts_what_was_signed_by_any_of_the_programs(tmp_path: Path, form: SignatureFormat) -> None:
    with serve(make_host(form)) as host, follow(tmp_path / "n", host) as node:
        wait_until(lambda: node.systemctl == ["kexec"], f"it boots again: {node.out}")
        assert (node.loaded("kernel"), node.loaded("initrd")) == (
            host.then.kernel,
            host.then.initrd + b"\0" * (-len(host.then.initrd) % 4),
        )
        (load,) = node.kexec
        line = re.search(r"--command-line=(.*) \S+/kernel$", load)
        assert line is not None
        assert line[1].split() == [
            *host.then.arguments,
            f"every_channel.report={host.url}/report?boot={NEXT_TOKEN}",
            f"every_channel.release={NEXT}",
            "every_channel.healthy_within=600",
            "every_channel.channel_counter=50",
            f"every_channel.release_counter={host.then.counter}",
        ]
        assert host.asked[-1] == "/report"
        assert TOKEN not in node.out
        assert NEXT_TOKEN not in node.out


def test_without_a_key_it_checks_what_the_server_says(tmp_path: Path) -> None:
    host = make_host()
    host.extra = ["console=ttyS0"]
    honest = host.answers[f"/releases/{NEXT}/initrd"]
    with serve(host), follow(tmp_path / "n", host, FOLLOW_SIGNATURE="", FOLLOW_CHANNEL="") as node:
        wait_until(lambda: node.systemctl == ["kexec"], "it boots again")
        assert (
            "init=/nix/store/nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn-next/init loglevel=4 console=ttyS0"
            in node.kexec[0]
        )
    assert isinstance(honest, bytes)
    lying = make_host()
    lines = lying.list_next(takes=False)
    lying.answers["/next"] = lines
    lying.answers[f"/releases/{NEXT}/initrd"] = honest[:-1] + b"?"
    with serve(lying), follow(tmp_path / "o", lying, FOLLOW_SIGNATURE="", FOLLOW_CHANNEL="") as node:
        wait_until(lambda: "WRONG SHA-256" in node.out, "it says so")
        assert (node.systemctl, node.kexec) == ([], [])


def test_it_goes_through_its_firmware_where_it_may_and_cannot_else(tmp_path: Path) -> None:
    for number, (meminfo, why) in enumerate((("MemAvailable: 9 kB\n", "too little memory"), (None, "kexec"))):
        directory = tmp_path / str(number)
        directory.mkdir()
        environment = {}
        if meminfo is not None:
            (directory / "meminfo").write_text(meminfo)
            environment["FOLLOW_MEMINFO"] = str(directory / "meminfo")
        host = make_host()
        with serve(host), follow(directory, host, FOLLOW_REBOOT="yes", **environment) as node:
            if meminfo is None:
                (directory / "kexec").write_text("#!/bin/sh\nexit 1\n")
            wait_until(lambda: "reboot" in node.systemctl, "it boots again")
            assert why in node.out
            assert "kexec" not in node.systemctl
    host = make_host()
    directory = tmp_path / "stays"
    directory.mkdir()
    (directory / "meminfo").write_text("MemAvailable: 9 kB\n")
    with serve(host), follow(directory, host, FOLLOW_MEMINFO=str(directory / "meminfo")) as node:
        wait_until(lambda: host.asked.count("/next") > 2, "it tries again")
        assert node.systemctl == []


def test_arguments_of_the_fleet_that_this_system_allows(tmp_path: Path) -> None:
    host = make_host()
    host.extra = ["console=ttyS0,115200"]
    allowed = tmp_path / "allowed"
    allowed.write_text("isolcpus=3\nconsole=ttyS0,115200\n")
    with serve(host), follow(tmp_path / "n", host, FOLLOW_ARGUMENTS=str(allowed)) as node:
        wait_until(lambda: node.systemctl == ["kexec"], "it boots again")
        assert " loglevel=4 console=ttyS0,115200 every_channel.report=" in node.kexec[0]


def test_past_the_real_boot_server(tmp_path: Path) -> None:
    """Its place in a rollout, its next boot's token, and that the server knows what started that boot."""
    require_boot_services()
    settings_file, before, after = prepare(tmp_path)
    sock = tmp_path / "control.sock"
    with boot_service(settings_file, arguments=("--control-socket", str(sock))) as service:
        _, token = ask_script(service, NODES[0])
        report(service, token, before.id)
        host = make_host()
        host.url = f"http://{service.address}:{service.port}"
        rollout(sock, "start", after.id, "--group", "runners", "--waves", "100%")
        with follow(tmp_path / "n", host, token=token, FOLLOW_SIGNATURE="", FOLLOW_CHANNEL="") as node:
            wait_until(lambda: node.systemctl == ["kexec"], "it boots again")
            assert node.loaded("kernel") == b"kernel 2"
            (load,) = node.kexec
        assert f"every_channel.release={after.id}" in load
        assert "initrd=initrd" not in load
        assert "${" not in load
        (new,) = re.findall(r"/report\?boot=(\S+)", load)
        assert new != token
        report(service, new, after.id)
        newest, first = json.loads(service.watch(f"/api/v1/nodes/{NODES[0]}/boots").body)["boots"]
        assert (newest["after"], newest["state"], first["after"]) == (first["id"], "healthy", None)
        assert list(newest["stages"]) == ["script", "loaded", "up"]
        page = service.watch(f"/nodes/{NODES[0]}").body.decode()
        assert page.count("by kexec") == 1
        # One boot a token.
        assert service.get(f"/next?boot={token}&take=yes").status == 409
        for secret in (token, new):
            assert secret not in service.log_file.read_text()

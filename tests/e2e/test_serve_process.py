"""The life of ``ectools netboot serve``: its start, new releases, new tokens, dnsmasq's deaths, its end."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.boot_http import DEADLINE_SECONDS, wait_until
from support.boot_service import (
    NEXT_TOKEN,
    SECRET,
    TOKEN,
    Service,
    boot_service,
    make_state_dir,
    require_boot_services,
    stage,
    write_settings,
    write_tokens,
)

from ectools.netboot.boot_files.scripts.first_stage import build_autoexec
from ectools.netboot.release.prune import Retention, prune
from ectools.netboot.release.store import ReleaseStore
from ectools.netboot.settings.load import load_netboot_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

BIG = 64 << 20
OWNER = 65533


@pytest.fixture(autouse=True)
def _needs() -> None:
    require_boot_services()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    directory = make_state_dir(tmp_path)
    (directory / "tftp" / "autoexec.ipxe").chmod(0o640)
    return directory


def release_files(text: str, *, size: int = 100) -> dict[str, bytes]:
    return {"bzImage": b"kernel " + text.encode(), "initrd": text.encode() * size}


def fetch_tftp(service: Service, name: str) -> bytes:
    """A file over TFTP, octet by octet (RFC 1350), without any option."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(DEADLINE_SECONDS)
        client.sendto(b"\0\1" + name.encode() + b"\0octet\0", (service.address, 69))
        content = b""
        while True:
            packet, server = client.recvfrom(2048)
            if packet[:2] == b"\0\5":
                raise FileNotFoundError(packet[4:])
            content += packet[4:]
            client.sendto(b"\0\4" + packet[2:4], server)
            if len(packet) < 516:
                return content


def test_everything_is_served_and_each_step_of_a_boot_is_told(tmp_path: Path, state: Path) -> None:
    release = stage(state, release_files("one"))
    with boot_service(write_settings(tmp_path)) as service:
        assert fetch_tftp(service, "ec-ipxe.efi") == b"a boot binary"
        assert fetch_tftp(service, "autoexec.ipxe") == b"#!ipxe\n"
        with pytest.raises(FileNotFoundError):
            fetch_tftp(service, "../../netboot.json")
        script = service.get("/netboot.ipxe")
        assert f"/releases/{release.id}/bzImage".encode() in script.body
        assert service.get(f"/releases/{release.id}/bzImage").body == b"kernel one"
        assert service.get("/initrd").body == b"one" * 100
        boot = service.wait_for_event("a node has everything it boots from")
        assert (boot["release"], boot["tag"], boot["client"]) == (release.id, "boot-v1", "127.0.0.1")
        wait_until(lambda: service.events("TFTP has sent a file"), "TFTP tells what it sent")
        assert service.events("TFTP has sent a file")[0]["file"] == "ec-ipxe.efi"
        health = service.health()
        assert (health["release"], health["boots"], health["dnsmasq"]) == (release.id, 1, "running")
        assert service.stop() == 0
    assert service.log()[-1]["event"] == "the boot server has stopped"


def test_nothing_staged_is_no_reason_not_to_start(tmp_path: Path, state: Path) -> None:
    with boot_service(write_settings(tmp_path)) as service:
        assert service.events("no release is staged")[0]["level"] == "warning"
        response = service.get("/netboot.ipxe")
        assert (response.status, response.body) == (503, b"no release is staged yet; try again\n")
        assert int(response.headers["retry-after"]) > 0
        assert service.health()["release"] is None
        assert fetch_tftp(service, "ec-ipxe.efi") == b"a boot binary"
        release = stage(state, release_files("one"))
        assert service.get("/bzImage").body == b"kernel one"
        assert service.health()["release"] == release.id


def test_a_swap_during_a_download(tmp_path: Path, state: Path) -> None:
    """Who had begun gets all of the old release, who comes now the new one; and no file goes meanwhile."""
    content = os.urandom(BIG)
    old = stage(state, {"bzImage": b"kernel one", "initrd": content})
    with boot_service(write_settings(tmp_path)) as service:
        assert old.id.encode() in service.get("/netboot.ipxe").body
        with service.connect(receive_buffer=64 << 10) as client:
            client.send(f"/releases/{old.id}/initrd")
            assert client.read_header()[0] == 200
            begun = client.read(1 << 20)
            new = stage(state, release_files("two"))
            newest = stage(state, release_files("three"))
            script = service.get("/netboot.ipxe").body
            assert newest.id.encode() in script
            assert old.id.encode() not in script
            fates = {each.release.id: each.retention for each in prune(ReleaseStore(state), keep=0)}
            assert fates == {newest.id: Retention.CURRENT, new.id: Retention.PREVIOUS, old.id: Retention.HELD}
            # A node that has the old script, or whose download broke off, still gets the old files.
            assert service.get(f"/releases/{old.id}/bzImage").body == b"kernel one"
            rest = {"Range": f"bytes={BIG - 10}-"}
            assert service.get(f"/releases/{old.id}/initrd", rest).body == content[-10:]
            whole = begun + client.read(BIG - len(begun))
        assert hashlib.sha256(whole).hexdigest() == old.files["initrd"].sha256
        assert [line for line in service.requests() if "aborted" in line] == []


def test_two_tokens_take_turns_without_a_pause(tmp_path: Path, state: Path) -> None:
    stage(state, {"bzImage": b"kernel", "initrd": bytes(BIG)})
    tokens = write_tokens(tmp_path, TOKEN)
    with boot_service(write_settings(tmp_path, chainTokenFile=str(tokens))) as service:

        def accepted() -> list[bool]:
            paths = (f"/netboot.ipxe?token={token}" for token in (TOKEN, NEXT_TOKEN))
            return [service.get(path).status == 200 for path in paths]

        with service.connect(receive_buffer=64 << 10) as download:
            download.send("/initrd")
            assert download.read_header()[0] == 200
            assert accepted() == [True, False]
            write_tokens(tmp_path, TOKEN, NEXT_TOKEN)
            assert accepted() == [True, False]
            service.reload()
            assert accepted() == [True, True]
            tokens.write_text("not a token\n")
            service.reload()
            assert accepted() == [True, True]
            assert "holds no token" in service.events("the old ones stay in force")[0]["reason"]
            write_tokens(tmp_path, NEXT_TOKEN)
            service.reload()
            assert accepted() == [False, True]
            assert len(download.read(BIG)) == BIG
        assert TOKEN not in service.log_file.read_text()


def test_a_reload_takes_new_rules_and_refuses_what_takes_a_restart(tmp_path: Path, state: Path) -> None:
    stage(state, release_files("one"))
    with boot_service(write_settings(tmp_path)) as service:
        first = service.find_dnsmasq()
        service.change(httpAllowedCIDRs=["192.0.2.0/24"])
        service.reload()
        assert service.get("/bzImage").status == 403
        assert service.find_dnsmasq() == first, "what did not change is not started again"
        service.change(httpAllowedCIDRs=[], httpPort=1)
        service.reload()
        assert "services.every-channel.netboot.httpPort" in service.events("the old ones stay")[0]["reason"]
        assert service.get("/bzImage").status == 403
        service.change(httpPort=service.port, interface="no-such-link")
        service.reload()
        assert "no-such-link" in service.events("the old ones stay")[1]["reason"]
        service.settings_file.write_text("{")
        service.reload()
        assert service.get("/healthz").status == 200


def test_requests_are_answered_while_a_reload_waits_for_dnsmasq(tmp_path: Path, state: Path) -> None:
    """``dnsmasq --test`` takes as long as the disk and the resolver have it; no client waits for that."""
    stage(state, release_files("one"))
    slow, waits, go_on = tmp_path / "bin/dnsmasq", tmp_path / "waits", tmp_path / "go-on"
    slow.parent.mkdir()
    slow.write_text(
        f"""#!/bin/sh
case " $* " in *" --test "*)
  [ -e {state.parent}/hold ] && touch {waits} && while [ ! -e {go_on} ]; do sleep 0.05; done;;
esac
exec {shutil.which("dnsmasq")} "$@"
"""
    )
    slow.chmod(0o755)
    env = {"PATH": f"{slow.parent}:{os.environ['PATH']}"}
    with boot_service(write_settings(tmp_path), env=env) as service:
        (state.parent / "hold").touch()
        service.change(hostname="boot.example.org")
        service.process.send_signal(signal.SIGHUP)
        wait_until(waits.exists, "dnsmasq is asked whether it takes its configuration")
        for _ in range(60):
            assert "boot.example.org" not in service.get("/netboot.ipxe").body.decode()
        assert not go_on.exists()
        go_on.touch()
        wait_until(
            lambda: "boot.example.org" in service.get("/netboot.ipxe").body.decode(), "the reload is done"
        )


def test_root_serves_no_more_than_the_owner_of_the_state_directory_may_read(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="ectools-serve-") as name:
        home = Path(name)
        home.chmod(0o755)
        (home / "secret").write_bytes(SECRET)
        (home / "secret").chmod(0o600)
        (home / "state").mkdir()
        os.chown(home / "state", OWNER, OWNER)
        with boot_service(write_settings(tmp_path, stateDir=str(home / "state"))) as service:
            directory = home / "state" / "tftp"
            assert directory.stat().st_uid == OWNER, "who may fill it"
            (directory / "open.efi").write_bytes(b"a boot binary")
            (directory / "link.efi").symlink_to(home / "secret")
            assert fetch_tftp(service, "open.efi") == b"a boot binary"
            with pytest.raises(FileNotFoundError):
                fetch_tftp(service, "link.efi")
            assert f"\nUid:\t{OWNER}\t" in Path(f"/proc/{service.find_dnsmasq()}/status").read_text()


def test_a_first_script_of_other_settings_is_told_of(tmp_path: Path, state: Path) -> None:
    settings_file = write_settings(tmp_path, chainTokenFile=str(write_tokens(tmp_path, TOKEN)))

    def write_script() -> None:
        script = build_autoexec(load_netboot_settings(settings_file, environment={}), TOKEN)
        (state / "tftp" / "autoexec.ipxe").write_text(script)

    words = "the first boot script is not what these settings make"
    write_script()
    with boot_service(settings_file) as service:
        assert service.events(words) == []
        service.change(hostname="boot.example.org")
        service.reload()
        assert service.events(words)[0]["level"] == "warning"
        write_script()
        service.reload()
        write_tokens(tmp_path, NEXT_TOKEN, TOKEN)
        service.reload()
        assert len(service.events(words)) == 2, "once for the host, once for the token"
        for token in (TOKEN, NEXT_TOKEN):
            assert token not in service.log_file.read_text()


def test_dnsmasq_that_is_killed_is_started_again(tmp_path: Path, state: Path) -> None:
    with boot_service(write_settings(tmp_path)) as service:
        for number in range(1, 4):
            os.kill(service.find_dnsmasq(), signal.SIGKILL)
            service.wait_for_dnsmasq(number + 1)
            assert service.events("dnsmasq died")[-1]["how"] == "killed by SIGKILL"
            assert fetch_tftp(service, "ec-ipxe.efi") == b"a boot binary"
        assert service.health()["dnsmasq"] == "running"


def test_http_goes_on_while_dnsmasq_cannot_be_kept_running(tmp_path: Path, state: Path) -> None:
    """Six quick deaths are no reason to turn HTTP's clients away: dnsmasq is tried again."""
    stage(state, release_files("one"))
    with boot_service(write_settings(tmp_path)) as service:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as thief:
            os.kill(service.find_dnsmasq(), signal.SIGKILL)
            wait_until(lambda: is_bound(thief, service.address), "its port is another's")
            service.wait_for_event("dnsmasq died", count=6)
            assert "failed to create listening socket" in service.events("dnsmasq died")[-1]["how"]
            assert service.get("/bzImage").status == 200
            assert service.health()["dnsmasq"] == "restarting"
        service.wait_for_event("dnsmasq serves again")
        assert fetch_tftp(service, "ec-ipxe.efi") == b"a boot binary"
        assert service.health()["dnsmasq"] == "running"
        assert "Traceback" not in service.log_file.read_text()


def test_dnsmasq_that_hangs_is_replaced(tmp_path: Path, state: Path) -> None:
    """A stopped process still counts as running: it is asked over TFTP, which is no boot of anybody's."""
    with boot_service(write_settings(tmp_path)) as service:
        os.kill(service.find_dnsmasq(), signal.SIGSTOP)
        service.wait_for_dnsmasq(2)
        assert fetch_tftp(service, "ec-ipxe.efi") == b"a boot binary"
        died = service.events("dnsmasq died")
        assert [event["how"] for event in died] == ["it did not answer over TFTP, 2 times in a row"]


def is_bound(thief: socket.socket, address: str) -> bool:
    try:
        thief.bind((address, 69))
    except OSError:
        return False
    return True


def test_half_open_connections_hold_nobody_up(tmp_path: Path, state: Path) -> None:
    stage(state, {"bzImage": b"kernel", "initrd": bytes(BIG)})
    with boot_service(write_settings(tmp_path)) as service, contextlib.ExitStack() as stack:
        for number in range(500):
            client = stack.enter_context(service.connect())
            client.socket.sendall(b"GET /netboot.ipxe HTTP/1.1\r\nX: "[: 1 + number % 30])
        assert service.get("/netboot.ipxe").status == 200
        assert len(service.get("/initrd").body) == BIG
        assert service.health()["connections"] > 500
        assert fetch_tftp(service, "ec-ipxe.efi") == b"a boot binary"


def test_sigterm_lets_downloads_end_and_leaves_no_process(tmp_path: Path, state: Path) -> None:
    stage(state, {"bzImage": b"kernel", "initrd": bytes(BIG)})
    with boot_service(write_settings(tmp_path)) as service:
        dnsmasq = service.find_dnsmasq()
        with service.connect(receive_buffer=64 << 10) as download:
            download.send("/initrd")
            assert download.read_header()[0] == 200
            service.process.send_signal(signal.SIGTERM)
            service.wait_for_event("stopping")
            service.process.send_signal(signal.SIGHUP)
            assert not Path(f"/proc/{dnsmasq}").exists()
            assert len(download.read(BIG)) == BIG
        assert service.process.wait(DEADLINE_SECONDS) == 0
        assert service.log()[-1]["dropped"] == 0
        assert service.events("have been read again") == [], "who stops takes no new settings"


def test_a_kill_leaves_no_dnsmasq_behind(tmp_path: Path, state: Path) -> None:
    with boot_service(write_settings(tmp_path)) as service:
        dnsmasq = Path(f"/proc/{service.find_dnsmasq()}")
        service.process.kill()
        wait_until(lambda: not dnsmasq.exists(), "dnsmasq has gone too")


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The service manager's end of sd_notify(3)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(tmp_path / "notify"))
        end.settimeout(DEADLINE_SECONDS)
        yield end


def test_the_service_manager_is_told(tmp_path: Path, state: Path, manager: socket.socket) -> None:
    def hear(wanted: str) -> None:
        while not manager.recv(4096).decode().startswith(wanted):
            pass

    env = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1000000"}
    with boot_service(write_settings(tmp_path), env=env) as service:
        hear("READY=1")
        hear("STATUS=no release is staged; dnsmasq is running")
        hear("WATCHDOG=1")
        release = stage(state, release_files("one"))
        hear(f"STATUS=serving boot-v1 ({release.id})")
        service.process.send_signal(signal.SIGHUP)
        hear("RELOADING=1\nMONOTONIC_USEC=")
        hear("READY=1")
        service.process.send_signal(signal.SIGTERM)
        hear("STOPPING=1")

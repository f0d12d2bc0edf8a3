"""``ectools service`` on a Debian that its own systemd has booted: installed, booted again, changed, removed.

The tests follow one another on one machine, as the days of a host do.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from support.machine_image import LAN_ADDRESS
from support.service_host import HOST, STATE, SYSTEM, TOKEN, UNIT, Host, boot_service_host, list_ours
from support.unit_cases import fetch

pytestmark = [pytest.mark.timeout(900)]

FLEET = """
[services.every-channel.netboot.fleet]
groups.runners = {}
nodes.nuc-08 = { group = "runners", match.mac = ["02:00:00:00:00:08"] }
"""
# A node's boot: its script, and its report that it is not well. Prints the release, and the status.
BOOT_BADLY = """
import re, sys, urllib.request
base, token = sys.argv[1:]
ask = f"{base}/netboot.ipxe?token={token}&mac=02:00:00:00:00:08&arch=x86_64"
script = urllib.request.urlopen(ask, timeout=60).read().decode()
release = re.search(r"/releases/(sha256-[0-9a-f]{32})/", script)[1]
boot = re.search(r"every_channel[.]report=[^ ]*[?]boot=([^ \\n]+)", script)[1]
said = f"stage=up&release={release}&healthy=no&failed=a.service".encode()
print(release, urllib.request.urlopen(f"{base}/report?boot={boot}", said, timeout=60).status)
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with boot_service_host(tmp_path_factory.mktemp("service")) as host:
        yield host


def test_bad_settings_install_nothing(host: Host) -> None:
    host.machine.write("/etc/bad.toml", HOST.replace('"daily"', '"daily"\nstateDir = "/root/x"'))
    said = host.ectools("service", "install", "netboot", "--config", "/etc/bad.toml", status=2)
    assert "/etc/bad.toml:11:1" in said
    said = host.ectools("service", "install", "netboot", "--config", "/etc/absent.toml", status=2)
    assert "No such file" in said
    assert list_ours(host.machine) == []


def test_what_somebody_else_wrote_is_refused(host: Host) -> None:
    path = f"{SYSTEM}/{UNIT}-stage.service"
    host.machine.write(path, "[Service]\nExecStart=/bin/true\n")
    said = host.ectools("service", "install", "netboot", "--config", "/etc/host.toml", status=1)
    assert f"{path} was written by another" in said
    assert list_ours(host.machine) == [path]
    host.machine.run("rm", path)


def test_installed_it_serves(host: Host) -> None:
    said = host.ectools("service", "install", "netboot", "--config", "/etc/host.toml")
    assert f"{SYSTEM}/{UNIT}.service (written)" in said
    assert "TCP 8080, UDP 69, UDP 67, UDP 4011" in said
    host.wait_serving()
    machine = host.machine
    assert (
        machine.run("systemd-analyze", "verify", *[f"{SYSTEM}/{UNIT}{x}.service" for x in ("", "-stage")])
        == ""
    )
    assert machine.run("stat", "--format=%a %U %G", STATE).split() == ["750", UNIT, UNIT]
    assert machine.run("ps", "-o", "user:40=", "-C", "dnsmasq").split() == [f"{UNIT}-dnsmasq"]
    # The token comes as a credential, to a user who cannot read its file.
    assert fetch(machine, f"http://{LAN_ADDRESS}:8080/netboot.ipxe") == 403
    assert fetch(machine, f"http://{LAN_ADDRESS}:8080/netboot.ipxe?token={TOKEN}") == 200
    assert "every_channel_tftp" in machine.run("nft", "list", "tables")
    # What it remembers is in the one directory that it may write.
    assert machine.run("stat", "--format=%a %U", f"{STATE}/fleet/state.sqlite3").split() == ["600", UNIT]
    # What people type finds the same settings.
    assert "current" in host.ectools("netboot", "releases", "list")


def test_again_it_changes_nothing(host: Host) -> None:
    run = host.machine.show(UNIT, "InvocationID")
    before = host.machine.shell(
        "stat --format='%n %y %i' /etc/systemd/system/every-channel* /etc/every-channel/*"
    )
    said = host.ectools("service", "install", "netboot", "--config", "/etc/host.toml")
    assert "(written)" not in said
    assert "(as it was)" in said
    after = host.machine.shell(
        "stat --format='%n %y %i' /etc/systemd/system/every-channel* /etc/every-channel/*"
    )
    assert (after, host.machine.show(UNIT, "InvocationID")) == (before, run)


def test_who_is_of_the_group_looks_after_the_fleet(host: Host) -> None:
    machine = host.machine
    machine.run("useradd", "--create-home", "alice")
    as_alice = ("runuser", "-u", "alice", "--", "ectools", "fleet")
    done = machine.execute([*as_alice, "status"])
    assert (done.status, f"is for root and the group {UNIT}" in done.stderr) == (1, True), done.stderr
    machine.run("usermod", "-aG", UNIT, "alice")
    machine.run(*as_alice, "add", "nuc-07", "--mac", "02:00:00:00:00:07")
    host.ectools("fleet", "hold", "nuc-07")
    log = [json.loads(line) for line in host.ectools("fleet", "log", "--json").splitlines()]
    # The unit is in a user namespace, in which alice is not.
    assert [(each["kind"], each["by"]) for each in log] == [
        ("node-added", "alice (as they say)"),
        ("node-held", "root"),
    ]
    machine.run("userdel", "--remove", "alice")


def test_a_rollout_that_stops_has_its_release_withdrawn(host: Host) -> None:
    """The server marks releases in a directory of which it can write a part only."""
    machine = host.machine
    (bad,) = list_releases(host)
    machine.shell("mkdir /srv/next && cd /srv/next && echo k2 >kernel && echo i2 >initrd")
    machine.write("/srv/next/netboot.ipxe", "#!ipxe\nkernel kernel\ninitrd initrd\nboot\n")
    machine.shell("tar --create --gzip --file=/srv/next.tar.gz --directory=/srv/next .")
    host.settle(HOST.replace("/nix/files/release.tar.gz", "/srv/next.tar.gz") + FLEET)
    machine.wait(lambda: list_releases(host).get(bad) == ["previous"], "the next release", unit=UNIT)
    (good,) = {*list_releases(host)} - {bad}
    host.ectools("rollout", "start", bad, "--group", "runners", "--waves", "100%", "--max-failures", "0")
    assert all("rollout" in marks for marks in list_releases(host).values())
    said = machine.run("python3", "-c", BOOT_BADLY, f"http://{LAN_ADDRESS}:8080", TOKEN)
    assert said.split() == [bad, "200"]
    done = machine.execute(["ectools", "rollout", "status", "--wait", "--timeout", "60", "--json"])
    (found,) = json.loads(done.stdout)
    assert (done.status, found["state"]) == (1, "stopped"), done.stderr
    ends = {bad: ["previous", "withdrawn"], good: ["current", "rollout"]}
    machine.wait(lambda: list_releases(host) == ends, "the release is withdrawn", unit=UNIT)
    # What it serves it cannot change.
    inside = ("nsenter", "--target", machine.show(UNIT, "MainPID")["MainPID"], "--mount", "touch")
    for name in ("x", "releases/x", "tftp/x"):
        assert "Read-only file system" in machine.execute([*inside, f"{STATE}/{name}"]).stderr
    host.settle(HOST)


def list_releases(host: Host) -> dict[str, list[str]]:
    """The id of each staged release, and its marks."""
    listed = json.loads(host.ectools("netboot", "releases", "list", "--json"))
    return {each["id"]: each["marks"] for each in listed}


def test_booted_again_it_serves(host: Host) -> None:
    host.boot()
    host.wait_serving()
    # What was said of a node outlives the machine's restart.
    assert "held by root" in host.ectools("fleet", "show", "nuc-07")
    host.ectools("fleet", "remove", "nuc-07")
    timers = host.machine.run("systemctl", "list-timers", "--no-legend", f"{UNIT}-stage.timer")
    assert f"{UNIT}-stage.timer" in timers


def test_nothing_waits_for_a_staging_that_hangs(host: Host) -> None:
    """Neither a boot, nor a switch of a NixOS, which starts the target that wants it."""
    machine, stage = host.machine, f"{UNIT}-stage.service"
    drop_in = f"/run/systemd/system/{stage}.d"
    machine.write(f"{drop_in}/hangs.conf", "[Service]\nExecStart=\nExecStart=/bin/sleep 1h\n")
    machine.run("systemctl", "daemon-reload")
    machine.wait_ended(stage)
    machine.run("timeout", "60", "systemctl", "start", "multi-user.target")
    assert machine.show(stage, "ActiveState", "SubState") == {
        "ActiveState": "activating",
        "SubState": "start",
    }
    machine.run("systemctl", "stop", stage)
    # Who starts it by its name waits, and is told that it failed.
    machine.write(f"{drop_in}/hangs.conf", "[Service]\nExecStart=\nExecStart=/bin/false\n")
    machine.run("systemctl", "daemon-reload")
    assert machine.execute(["systemctl", "start", stage]).status == 1
    machine.run("systemctl", "stop", stage)
    machine.run("rm", "-r", drop_in)
    machine.run("systemctl", "daemon-reload")


def test_changed_settings_are_taken_up_and_a_drop_in_stays(host: Host) -> None:
    drop_in = f"{SYSTEM}/{UNIT}.service.d/mine.conf"
    host.machine.write(drop_in, "[Service]\nEnvironment=MINE=1\n")
    changed = HOST.replace('release.refresh = "daily"\n', 'protectedFiles = ["initrd"]\n')
    host.machine.write("/etc/host.toml", changed)
    said = host.ectools("service", "install", "netboot", "--config", "/etc/host.toml")
    assert f"{SYSTEM}/{UNIT}-stage.timer (removed)" in said
    host.machine.wait_active(f"{UNIT}.service")
    address = f"http://{LAN_ADDRESS}:8080/initrd"
    host.machine.wait(lambda: fetch(host.machine, address) == 403, "it is protected", unit=UNIT)
    assert host.machine.show(UNIT, "Environment")["Environment"] == "MINE=1"
    assert host.machine.run("cat", drop_in) != ""


def test_what_was_edited_is_refused_and_left(host: Host) -> None:
    unit = f"{SYSTEM}/{UNIT}.service"
    host.machine.shell("echo TasksMax=99 >>$1", unit)
    host.machine.write("/etc/host.toml", HOST)
    said = host.ectools("service", "install", "netboot", "--config", "/etc/host.toml", status=1)
    assert f"{unit} was changed since it was written" in said
    host.machine.run("sed", "-i", "$d", unit)
    host.ectools("service", "install", "netboot", "--config", "/etc/host.toml")
    host.wait_serving()


def test_the_guest_too(host: Host) -> None:
    host.ectools("service", "install", "ipxe-qemu", "--config", "/etc/host.toml")
    unit = "every-channel-ipxe-qemu"
    host.machine.wait_active(f"{unit}.service")
    host.machine.wait(
        lambda: any(
            entry["event"] == "request" and entry["path"] == "/netboot.ipxe"
            for entry in host.machine.entries(unit, this_run=True)
        ),
        "the guest boots",
        unit=unit,
    )
    host.ectools("service", "remove", "ipxe-qemu")
    assert [path for path in list_ours(host.machine) if "ipxe-qemu" in path] == []
    assert host.machine.show(unit, "LoadState", "ActiveState") == {
        "LoadState": "not-found",
        "ActiveState": "inactive",
    }


def test_removed_it_leaves_its_state_and_what_is_not_its_own(host: Host) -> None:
    machine = host.machine
    drop_in = f"{SYSTEM}/{UNIT}.service.d/mine.conf"
    host.ectools("service", "remove", "netboot")
    assert list_ours(machine) == [drop_in]
    for unit in (UNIT, f"{UNIT}-dnsmasq", f"{UNIT}-stage", f"{UNIT}-ipxe"):
        assert machine.show(unit, "ActiveState")["ActiveState"] == "inactive"
    assert machine.run("pgrep", "--uid", f"{UNIT},{UNIT}-dnsmasq", check=False) == ""
    assert "every_channel" not in machine.run("nft", "list", "tables")
    assert machine.run("find", SYSTEM, "-xtype", "l", "-name", "every*") == ""
    assert machine.run("ls", f"{STATE}/current") != ""
    assert "is not installed" in host.ectools("service", "remove", "netboot")


def test_an_image_that_does_not_run_is_set_up_too(host: Host) -> None:
    machine = host.machine
    machine.shell("mkdir -p /image/etc /image/usr/lib && cp /etc/passwd /etc/group /image/etc")
    host.ectools("service", "install", "netboot", "--config", "/etc/host.toml", "--root", "/image")
    enabled = machine.shell("cd /image/etc/systemd/system/multi-user.target.wants && ls")
    assert enabled.split() == [f"{UNIT}-ipxe.service", f"{UNIT}-stage.service", f"{UNIT}.service"]
    assert f"\n{UNIT}-dnsmasq:" in machine.run("cat", "/image/etc/passwd")
    assert machine.show(UNIT, "ActiveState")["ActiveState"] == "inactive"
    host.ectools("service", "remove", "netboot", "--root", "/image")
    assert machine.shell("find /image/etc -path '*every-channel*'") == ""

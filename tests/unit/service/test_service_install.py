"""What an installation and a removal do to files and tell the service manager, with that one as a fake."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest

from ectools.files import FileError
from ectools.processes import Completed, ProcessError
from ectools.service import install as module
from ectools.service.files import SETTINGS_MARK, ServiceFiles
from ectools.service.install import ServiceError, install, is_in_place, owns_settings, remove
from ectools.service.settings import ServiceName

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Build = Callable[..., ServiceFiles]

NETBOOT = ServiceName.NETBOOT
UNIT = "every-channel-netboot"
SETTINGS = "etc/every-channel/netboot.json"


@pytest.fixture
def refused() -> list[str]:
    """What ``told`` fails at."""
    return []


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, refused: list[str]) -> list[str]:
    """What was run."""
    lines: list[str] = []

    def run(argv: Sequence[str], **_options: Any) -> Completed:
        lines.append(" ".join(argv))
        if any(line in lines[-1] for line in refused):
            raise ProcessError("refused", argv=argv)
        return Completed("failed\n\n" * len(argv[4:]) if "--property=ActiveState" in argv else "", "")

    monkeypatch.setattr(module, "run", run)
    return lines


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch, told: list[str], root: Path, tmp_path: Path) -> list[str]:
    """As ``told``, and every root is the system that runs."""
    (root / "run").mkdir()
    monkeypatch.setattr(module, "_is_running", lambda _root: True)
    monkeypatch.setattr(module, "_KERNEL_SETTINGS", tmp_path / "sys")
    return told


@pytest.fixture
def root(tmp_path: Path) -> Path:
    directory = tmp_path / "root"
    directory.mkdir()
    return directory


def list_files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}


def test_an_image_gets_files_users_and_links(build: Build, root: Path, told: list[str]) -> None:
    files = build(NETBOOT)
    outcome = install(files, NETBOOT, root=root)
    expected = {str(path)[1:] for path in files.texts} | {SETTINGS}
    assert list_files(root) == expected == {str(path)[1:] for path in outcome.written}
    units = f"{UNIT}-ipxe.service {UNIT}-stage.service {UNIT}.service"
    assert told == [
        f"systemd-sysusers --root={root} {root}/etc/sysusers.d/{UNIT}.conf",
        f"systemctl --root={root} enable --quiet {units}",
    ]
    assert {oct(path.stat().st_mode & 0o777) for path in root.rglob("*.service")} == {"0o644"}


def test_a_system_that_runs_is_told_what_has_changed(build: Build, root: Path, running: list[str]) -> None:
    install(build(NETBOOT), NETBOOT, root=root)
    assert running[-4:] == [
        f"systemctl restart {UNIT}-ipxe.service",
        f"systemctl restart --no-block {UNIT}-stage.service",
        f"systemctl restart {UNIT}.service",
        f"systemctl restart {UNIT}-dnsmasq.service",
    ]
    assert "systemctl daemon-reload" in running
    running.clear()
    outcome = install(build(NETBOOT), NETBOOT, root=root)
    assert (outcome.written, outcome.removed) == ((), ())
    assert len(outcome.unchanged) == 8
    assert [line for line in running if "restart" in line or "stage" in line.partition("enable")[0]] == []


def test_a_unit_that_is_no_longer_wanted_goes(build: Build, root: Path, running: list[str]) -> None:
    install(build(NETBOOT, release={"refresh": "daily"}), NETBOOT, root=root)
    running.clear()
    outcome = install(build(NETBOOT), NETBOOT, root=root)
    timer = f"{UNIT}-stage.timer"
    assert [path.name for path in outcome.removed] == [timer]
    shown = f"systemctl show --property=ActiveState --value {timer}"
    assert running[:4] == [
        f"systemctl disable --quiet {timer}",
        shown,
        shown,
        f"systemctl reset-failed {timer}",
    ]


def test_what_runs_is_stopped_and_what_was_never_loaded_is_not(
    build: Build, root: Path, running: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(build(NETBOOT), NETBOOT, root=root)
    states = {f"{UNIT}.service": "active", f"{UNIT}-stage.service": "activating"}
    monkeypatch.setattr(
        module, "_read_states", lambda units: [(unit, states.get(unit, "inactive")) for unit in units]
    )
    running.clear()
    remove(NETBOOT, root=root)
    assert [line for line in running if " stop " in line] == [
        f"systemctl stop {UNIT}-stage.service {UNIT}.service"
    ]


def test_an_installation_that_was_cut_off_is_finished_by_the_next(
    build: Build, root: Path, running: list[str], refused: list[str]
) -> None:
    refused.append("daemon-reload")
    with pytest.raises(ProcessError):
        install(build(NETBOOT), NETBOOT, root=root)
    refused.clear()
    running.clear()
    outcome = install(build(NETBOOT), NETBOOT, root=root)
    assert outcome.written == ()
    assert [line.split()[-1] for line in running if " restart " in line] == [
        f"{UNIT}-ipxe.service",
        f"{UNIT}-stage.service",
        f"{UNIT}.service",
        f"{UNIT}-dnsmasq.service",
    ]
    running.clear()
    install(build(NETBOOT), NETBOOT, root=root)
    assert [line for line in running if " restart " in line] == []


@pytest.mark.parametrize("replaced", range(8))
def test_settings_stay_ours_wherever_replacing_files_was_cut_off(
    build: Build, root: Path, told: list[str], replaced: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(build(NETBOOT), NETBOOT, root=root)

    def write_some(files: dict[Path, bytes]) -> None:
        for path, data in [*files.items()][:replaced]:
            path.write_bytes(data)
        raise FileError("cut off")

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_all_atomic", write_some)
        with pytest.raises(FileError, match="cut off"):
            install(build(NETBOOT, httpPort=8081), NETBOOT, root=root)
    install(build(NETBOOT, httpPort=8082), NETBOOT, root=root)
    assert '"httpPort": 8082' in (root / SETTINGS).read_text()


def test_a_unit_that_does_not_start_keeps_no_other_from_it(
    build: Build, root: Path, running: list[str], refused: list[str]
) -> None:
    refused.append(f"restart {UNIT}.service")
    outcome = install(build(NETBOOT), NETBOOT, root=root)
    assert outcome.failed == (f"{UNIT}.service",)
    assert running[-1] == f"systemctl restart {UNIT}-dnsmasq.service"


def test_directories_are_open_whatever_the_umask(build: Build, root: Path, told: list[str]) -> None:
    before = os.umask(0o077)
    try:
        install(build(NETBOOT), NETBOOT, root=root)
    finally:
        os.umask(before)
    modes = {
        str(path): oct(path.stat().st_mode & 0o777) for path in (root / "etc").rglob("*") if path.is_dir()
    }
    assert set(modes.values()) == {"0o755"}, modes


def test_settings_that_the_service_cannot_read_are_refused(build: Build, root: Path, told: list[str]) -> None:
    install(build(NETBOOT), NETBOOT, root=root)
    settings = root / SETTINGS
    for path, closed, open_mode in ((settings, 0o640, 0o644), (settings.parent, 0o750, 0o751)):
        path.chmod(closed)
        if path.stat().st_gid == 0:
            with pytest.raises(ServiceError, match=f"{path} is closed"):
                install(build(NETBOOT), NETBOOT, root=root)
        path.chmod(closed & 0o700)
        with pytest.raises(ServiceError, match=f"{path} is closed"):
            install(build(NETBOOT), NETBOOT, root=root)
        path.chmod(open_mode)
        install(build(NETBOOT), NETBOOT, root=root)


@pytest.mark.usefixtures("root")
def test_settings_for_a_group_or_an_access_list_are_no_fault(
    build: Build, root: Path, told: list[str]
) -> None:
    install(build(NETBOOT), NETBOOT, root=root)
    settings = root / SETTINGS
    settings.chmod(0o640)
    os.chown(settings, 0, 7)
    install(build(NETBOOT), NETBOOT, root=root)


def test_a_link_that_leads_out_of_the_tree_is_followed_by_nobody(
    build: Build, root: Path, told: list[str], tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / "etc").symlink_to(outside)
    with pytest.raises(ServiceError, match=f"leads out of {root}, to {outside}"):
        install(build(NETBOOT), NETBOOT, root=root)
    assert (list_files(outside), told) == (set(), [])
    (root / "etc").unlink()
    (root / "usr/etc").mkdir(parents=True)
    (root / "etc").symlink_to("usr/etc")
    install(build(NETBOOT), NETBOOT, root=root)
    assert (root / "usr" / SETTINGS).is_file()


def test_the_module_of_a_lan_is_loaded(build: Build, root: Path, running: list[str]) -> None:
    files = build(ServiceName.IPXE_QEMU, lan={"enable": True, "macvtap": {"interface": "eth0"}})
    install(files, ServiceName.IPXE_QEMU, root=root)
    assert "systemctl restart systemd-modules-load.service" in running


@pytest.mark.parametrize(
    ("before", "buffer", "after"),
    [("212992\n", None, "8388608"), ("9000000\n", None, "9000000\n"), ("1", 77, "77"), ("odd", 77, "odd")],
)
def test_the_receive_buffer_is_raised_at_once_and_never_lowered(
    build: Build, root: Path, running: list[str], tmp_path: Path, before: str, buffer: int | None, after: str
) -> None:
    file = tmp_path / "sys/net/core/rmem_default"
    file.parent.mkdir(parents=True)
    file.write_text(before)
    install(build(NETBOOT, tftp={"receiveBuffer": buffer} if buffer else {}), NETBOOT, root=root)
    assert file.read_text() == after
    kept = (root / f"etc/sysctl.d/10-{UNIT}.conf").read_text().splitlines()[2:]
    assert kept == [
        f"-net.core.rmem_default = {buffer or 8388608}",
        "-net.ipv4.neigh.default.gc_thresh2 = 4096",
        "-net.ipv4.neigh.default.gc_thresh3 = 8192",
    ]
    # What another service manager does to the rest of the kernel's settings is none of this.
    assert not any("sysctl" in line for line in running)


def test_kernel_settings_of_the_hosts_own_are_left(build: Build, root: Path, running: list[str]) -> None:
    install(build(NETBOOT), NETBOOT, root=root)
    outcome = install(build(NETBOOT, tftp={"receiveBuffer": None}, maxNeighbours=None), NETBOOT, root=root)
    assert [str(path) for path in outcome.removed] == [f"/etc/sysctl.d/10-{UNIT}.conf"]


@pytest.mark.parametrize("kind", ["foreign", "edited", "link", "settings", "edited settings"])
def test_nothing_is_done_where_a_file_is_not_ours(
    build: Build, root: Path, told: list[str], kind: str
) -> None:
    unit = root / f"etc/systemd/system/{UNIT}.service"
    settings = root / SETTINGS
    unit.parent.mkdir(parents=True)
    settings.parent.mkdir(parents=True)
    match kind:
        case "foreign":
            unit.write_text("[Unit]\n")
        case "edited":
            unit.write_text(build(NETBOOT, httpPort=1).units[unit.name] + "X=1\n")
        case "link":
            unit.symlink_to("/dev/null")
        case "settings":
            settings.write_text("{}")
        case "edited settings":
            install(build(NETBOOT), NETBOOT, root=root)
            settings.write_text("{}")
    before = list_files(root)
    told.clear()
    with pytest.raises(ServiceError) as caught:
        install(build(NETBOOT), NETBOOT, root=root)
    named = settings if "settings" in kind else unit
    assert str(named) in caught.value.message
    assert ("changed since" in caught.value.message) == ("edited" in kind)
    assert (list_files(root), told) == (before, [])


def test_removed_are_ours_alone(build: Build, root: Path, running: list[str]) -> None:
    install(build(NETBOOT), NETBOOT, root=root)
    drop_in = root / f"etc/systemd/system/{UNIT}.service.d/mine.conf"
    drop_in.parent.mkdir()
    drop_in.write_text("[Service]\n")
    stage = root / f"etc/systemd/system/{UNIT}-stage.service"
    stage.write_text(f"{stage.read_text()}X=1\n")
    outcome = remove(NETBOOT, root=root)
    assert list_files(root) == {str(drop_in.relative_to(root)), str(stage.relative_to(root))}
    assert [path.name for path in outcome.left] == [stage.name]
    assert not (root / "etc/every-channel").exists()
    assert running[-1] == "systemctl daemon-reload"
    assert remove(NETBOOT, root=root).removed == ()


def test_the_administrators_settings_stay(build: Build, root: Path, told: list[str], tmp_path: Path) -> None:
    files = build(NETBOOT)
    path, text = files.settings
    (root / SETTINGS).parent.mkdir(parents=True)
    (root / SETTINGS).write_text(text)
    assert is_in_place(root / SETTINGS, NETBOOT, root=root)
    assert not is_in_place(tmp_path / "settings.json", NETBOOT, root=root)
    assert not owns_settings(NETBOOT, root=root)
    theirs = {
        unit: each.replace(SETTINGS_MARK, "# settings, the administrator's: ")
        for unit, each in files.units.items()
    }
    assert theirs != files.units
    install(files, NETBOOT, root=root)
    assert owns_settings(NETBOOT, root=root)
    assert PurePosixPath(path) in remove(NETBOOT, root=root).removed


def test_where_it_cannot_be(build: Build, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "etc").mkdir()
    (root / "etc/NIXOS").touch()
    with pytest.raises(ServiceError, match="is a NixOS"):
        install(build(NETBOOT), NETBOOT, root=root)
    monkeypatch.setattr(module.os, "geteuid", lambda: 7)
    with pytest.raises(ServiceError, match="by root"):
        remove(NETBOOT)
    monkeypatch.setattr(module.os, "geteuid", lambda: 0)
    monkeypatch.setattr(module, "_is_running", lambda _root: False)
    with pytest.raises(ServiceError, match="does not run here"):
        remove(NETBOOT)


def test_what_cannot_be_read_or_made_is_named(build: Build, root: Path, told: list[str]) -> None:
    unit = root / f"etc/systemd/system/{UNIT}.service"
    unit.mkdir(parents=True)
    with pytest.raises(FileError, match="cannot be read"):
        install(build(NETBOOT), NETBOOT, root=root)
    unit.rmdir()
    (root / "etc/every-channel").write_text("")
    with pytest.raises(FileError, match="etc/every-channel"):
        install(build(NETBOOT), NETBOOT, root=root)
    with pytest.raises(FileError, match=r"netboot\.json: cannot be read: Not a directory"):
        is_in_place(unit.parent, NETBOOT, root=root)

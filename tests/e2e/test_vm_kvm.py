"""The acceleration policy on this machine's own KVM, whatever it is worth.

Where KVM carries a guest, the first test sees that. Where it does not (it is missing, or a nested one),
each way in which it fails is seen as itself, and the guest runs under TCG.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.guests import empty_root, run_to_end, settings_for, start_runner, unprivileged
from support.needs import give_up, require_root, require_tool

from ectools.vm.kvm import Trouble

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.qemu

FALLBACK = "KVM cannot be used; the guest runs under TCG, many times slower"


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    return settings_for(tmp_path / "state", empty_root(tmp_path / "root"), enableKvm=True)


def hidden_kvm(how: str) -> list[str]:
    """A wrapper under which ``/dev/kvm`` is something else; needs root, and a /dev/kvm to put it over."""
    require_root("mounts over /dev/kvm")
    require_tool("unshare", "install util-linux")
    if not Path("/dev/kvm").exists():
        pytest.skip("NO /dev/kvm HERE: there is nothing to mount over")
    return ["unshare", "--mount", "sh", "-c", f'{how} && exec "$@"', "sh"]


def see_fallback(settings: dict[str, Any], directory: Path, wrapper: Sequence[str] = ()) -> dict[str, Any]:
    """The warning of a runner whose guest then runs under TCG."""
    with start_runner(settings, directory, wrapper=wrapper) as runner:
        warning = runner.wait_event(FALLBACK)
        runner.wait_event("the guest runs", accelerator="tcg")
        assert warning["level"] == "warning"
        return warning


def test_the_default_cpu_is_carried_or_the_failure_is_named(settings: dict[str, Any], tmp_path: Path) -> None:
    """``-cpu host``: the guest runs, under KVM or, with the reason in the log, under TCG."""
    with start_runner(settings, tmp_path) as runner:
        settled = runner.wait_for(
            lambda entry: entry["event"] in {FALLBACK, "KVM carries the guest"}, "a verdict on KVM"
        )
        if settled["event"] == FALLBACK:
            assert settled["reason"] in set(Trouble)
            assert settled["reason"] != Trouble.NO_PROGRESS or "90 s" in settled["detail"]
            runner.wait_event("the guest runs", accelerator="tcg")
        else:
            assert settled["progress"]


def test_a_kvm_that_cannot_be_initialized(settings: dict[str, Any], tmp_path: Path) -> None:
    """The device opens, and is not KVM."""
    wrapper = hidden_kvm("mount --bind /dev/null /dev/kvm")
    warning = see_fallback(settings, tmp_path, wrapper)
    assert warning["reason"] == Trouble.NOT_INITIALIZED
    assert "initialize kvm" in warning["detail"].lower()
    status, runner = run_to_end({**settings, "requireKvm": True}, tmp_path, wrapper=wrapper)
    assert status == 1
    assert "KVM is required and cannot be used: QEMU cannot initialize KVM" in runner.text[0]
    assert not runner.events("the guest runs")


def test_a_kvm_that_is_missing(settings: dict[str, Any], tmp_path: Path) -> None:
    nodes = "for n in null zero random urandom; do cp -a /dev/$n /run/ec-dev; done"
    wrapper = hidden_kvm(
        "mount -t tmpfs ec-test /run && mkdir /run/ec-dev && mount -t tmpfs ec-test /run/ec-dev && "
        f"{nodes} && mount --bind /run/ec-dev /dev"
    )
    assert see_fallback(settings, tmp_path, wrapper)["reason"] == Trouble.MISSING
    status, runner = run_to_end({**settings, "requireKvm": True}, tmp_path, wrapper=wrapper)
    assert status == 1
    assert "/dev/kvm is missing" in runner.text[0]
    assert not runner.events("QEMU started")


def test_a_kvm_that_this_user_may_not_open(tmp_path: Path) -> None:
    user = unprivileged(tmp_path)
    (tmp_path / "kvm").touch(mode=0o600)
    wrapper = [*hidden_kvm(f"mount --bind '{tmp_path}/kvm' /dev/kvm"), *user]
    settings = settings_for(tmp_path / "state", None, enableKvm=True)
    warning = see_fallback(settings, tmp_path, wrapper)
    assert warning["reason"] == Trouble.NO_PERMISSION
    status, runner = run_to_end({**settings, "requireKvm": True}, tmp_path, wrapper=wrapper)
    assert status == 1
    assert "usually: the group kvm" in runner.text[1]


def test_a_kvm_that_stops_the_guest(settings: dict[str, Any], tmp_path: Path) -> None:
    """Where a KVM has this fault, OVMF shows it at once; elsewhere it boots."""
    firmware = next((path for path in map(Path, OVMF) if path.exists()), None)
    if firmware is None:
        give_up("OVMF is not installed (Debian: ovmf)")
    change = {"cpu": "qemu64", "extraArgs": ["-bios", str(firmware)]}
    settings["boot"]["progressSeconds"] = 30
    with start_runner({**settings, **change}, tmp_path) as runner:
        settled = runner.wait_for(
            lambda entry: entry["event"] in {FALLBACK, "KVM carries the guest"}, "a verdict on KVM"
        )
        if settled["event"] == FALLBACK and settled["reason"] == Trouble.STOPPED:
            assert settled["detail"].startswith("status internal-error: KVM internal error")
        if settled["event"] == FALLBACK:
            runner.wait_event("the guest runs", accelerator="tcg")


OVMF = ["/usr/share/ovmf/OVMF.fd", "/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_CODE.fd"]


def test_a_guest_without_progress_counts_as_not_carried(settings: dict[str, Any], tmp_path: Path) -> None:
    """A machine without a boot ROM makes none; under KVM that is KVM's failure, after its time."""
    if subprocess.run(["sh", "-c", ": <>/dev/kvm"], check=False, capture_output=True).returncode != 0:
        pytest.skip("NO /dev/kvm HERE")
    settings["boot"]["progressSeconds"] = 2
    settings["boot"]["userNet"]["model"] = "virtio-net-pci,romfile="
    warning = see_fallback({**settings, "cpu": "qemu64"}, tmp_path)
    if warning["reason"] == Trouble.NO_PROGRESS:
        assert warning["detail"] == "2 s, status running"

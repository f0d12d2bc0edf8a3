"""The second stage of a release whose systems' architectures are known: who is given what."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.golden import compare
from support.staged import make_release, make_systems

from ectools.ipxe.urls import FAILURE_MARK
from ectools.netboot.boot_files.scripts.second_stage import build_netboot
from ectools.netboot.boot_files.scripts.systems import build_systems
from ectools.netboot.kernel import IA32_UEFI, KERNELS_BY_BUILD, KernelArchitecture
from ectools.netboot.probe.simulate.fetcher import Fetched, FetchState
from ectools.netboot.probe.simulate.ipxe import run_script
from ectools.netboot.probe.simulate.ipxe_trace import ScriptEnd, ScriptTrace
from ectools.netboot.release.systems import choose_system
from ectools.netboot.settings.load import load_netboot_settings

if TYPE_CHECKING:
    from ectools.netboot.settings.model import NetbootSettings

X86_64, AARCH64 = KernelArchitecture.X86_64, KernelArchitecture.AARCH64
PC, ARM = "ec-runner-x86_64-netboot", "ec-runner-aarch64-netboot"
BOTH, _ = make_systems({PC: X86_64, ARM: AARCH64})


def settings_of(**flags: Any) -> NetbootSettings:
    given = {"hostname": "192.0.2.10", **{name.replace("__", "."): value for name, value in flags.items()}}
    return load_netboot_settings(None, flags=given, environment={})


def boot(script: str, build: str | None) -> tuple[ScriptEnd, ScriptTrace]:
    """What an iPXE of that build does with it, from a server that has every file."""

    def fetch(uri: str, headers: object = None, limit: int = 65536) -> Fetched:
        return Fetched(uri=uri, state=FetchState.FOUND, size=9, head=b"k" * 9, whole=True)

    known = {} if build is None else {"buildarch": build.removesuffix("-efi")}
    known |= {"platform": "pcbios" if build == "i386" else "efi"}
    return run_script(script.encode(), "http://192.0.2.10:8080/netboot.ipxe", settings=known, fetch=fetch)


def test_the_scripts_as_they_are() -> None:
    alone = make_release(architecture=X86_64)
    compare("netboot/one-system.netboot.ipxe", build_netboot(settings_of(), alone, None))
    protected = settings_of(protectedFiles=["initrd"])
    compare("netboot/two-systems.netboot.ipxe", build_netboot(protected, BOTH, "t0k/en"))


@pytest.mark.parametrize(
    ("build", "system"),
    [("x86_64", PC), ("i386", PC), (None, PC), ("arm64", ARM), ("riscv64", None), (IA32_UEFI, None)],
)
def test_each_machine_is_given_its_own_system(build: str | None, system: str | None) -> None:
    end, trace = boot(build_netboot(settings_of(), BOTH, None), build)
    if system is None:
        assert (end, trace.boot, trace.files, trace.lacks) == (ScriptEnd.SHELL, None, [], build)
        return
    base = f"http://192.0.2.10:8080/releases/{BOTH.id}/{system}"
    assert (end, trace.lacks) == (ScriptEnd.BOOT, None)
    assert trace.boot is not None
    assert (trace.boot.kernel, trace.boot.initrds) == (f"{base}/bzImage", (f"{base}/initrd",))


@pytest.mark.parametrize(
    ("architecture", "served", "lacking"),
    [(X86_64, ("x86_64", "i386", None), "arm64"), (AARCH64, ("arm64",), "x86_64")],
)
def test_one_system_is_for_its_machines_alone(
    architecture: KernelArchitecture, served: tuple[str | None, ...], lacking: str
) -> None:
    script = build_netboot(settings_of(), make_release(architecture=architecture), None)
    assert [boot(script, build)[0] for build in served] == [ScriptEnd.BOOT] * len(served)
    end, trace = boot(script, lacking)
    assert (end, trace.boot, trace.files, trace.lacks) == (ScriptEnd.SHELL, None, [], lacking)
    assert f"echo {FAILURE_MARK} this release has no system for ${{ec-build}}: it has release\n" in script


def test_one_whose_architecture_is_not_known_is_given_to_all() -> None:
    script = build_netboot(settings_of(), make_release(), None)
    assert "buildarch" not in script
    assert [boot(script, build)[0] for build in ("arm64", None)] == [ScriptEnd.BOOT] * 2


def test_of_two_for_one_architecture_the_settings_say_which() -> None:
    release, _ = make_systems({"a": X86_64, "b": X86_64, "c": AARCH64})
    for systems, chosen in (([], "a"), (["b"], "b"), (["c", "b", "a"], "b")):
        script = build_netboot(settings_of(release__systems=systems), release, None)
        _, trace = boot(script, "x86_64")
        assert trace.boot is not None
        assert trace.boot.kernel.endswith(f"/{chosen}/bzImage")


@pytest.mark.parametrize("name", ["a ${b}", "||", "x\nshell", "\u00e4", "-x"])
def test_a_name_that_no_script_can_show_is_not_shown(name: str) -> None:
    release = make_release(architecture=AARCH64)
    odd = replace(release, systems=(replace(release.systems[0], name=name),))
    plain = build_netboot(settings_of(), release, None)
    expected = plain.replace("it has release\n", "it has one of another name\n")
    assert build_netboot(settings_of(), odd, None) == expected != plain


def test_the_token_goes_with_each_systems_protected_files() -> None:
    script = build_netboot(settings_of(protectedFiles=["initrd"]), BOTH, "t0ken")
    how = dict(re.findall(r"set ec-path \S+/(\S+/\S+)\n.*\nset ec-how (\S+)\n", script))
    assert how == {
        f"{name}/{file}": {"bzImage": "open", "initrd": "${ec-token}"}[file]
        for name in (PC, ARM)
        for file in ("bzImage", "initrd")
    }


SYSTEMS = st.dictionaries(
    st.from_regex(r"[a-z]{1,3}", fullmatch=True), st.sampled_from(KernelArchitecture), min_size=1, max_size=4
)


@given(SYSTEMS, st.sampled_from([*KERNELS_BY_BUILD, "vax"]))
def test_the_script_gives_what_is_chosen(names: dict[str, KernelArchitecture], build: str) -> None:
    release, _ = make_systems(names)
    script = build_netboot(settings_of(), release, None)
    chosen = choose_system(release.systems, build)
    _, trace = boot(script, build)
    assert (trace.boot is None) == (chosen is None)
    if trace.boot is not None and chosen is not None:
        assert trace.boot.kernel.endswith(f"/{chosen.boot.kernel}")
    # Whatever the numbers are, each step has one.
    labels = re.findall(r"^:(\S+)$", script, re.MULTILINE)
    assert len(set(labels)) == len(labels)
    steps = sum(len(each.names) + 1 for each in build_systems(settings_of(), release))
    assert [label for label in labels if label.startswith("file_")] == [f"file_{n}" for n in range(steps)]

"""What an iPXE script would do: mirrors, retries, ends; and that no script can hold the probe up."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.boot_binaries import build_uefi_application
from support.staged import make_system

from ectools.archive.file_record import FileRecord
from ectools.ipxe.language import join_uri
from ectools.netboot.boot_files.scripts.first_stage import build_autoexec
from ectools.netboot.boot_files.scripts.second_stage import build_netboot
from ectools.netboot.probe.simulate.fetcher import Fetched, FetchState
from ectools.netboot.probe.simulate.ipxe import run_script
from ectools.netboot.probe.simulate.ipxe_trace import KernelBoot, Mismatch, ScriptEnd, ScriptTrace
from ectools.netboot.probe.simulate.requested_file import Role
from ectools.netboot.release.manifest import BootEntry, Release, build_id
from ectools.netboot.settings.load import load_netboot_settings

BASE = "http://192.0.2.2:8080"
HERE = f"{BASE}/autoexec.ipxe"


class Web:
    """Files by URI; keeps what was asked for, and with which headers."""

    def __init__(self, files: Mapping[str, bytes] | None = None) -> None:
        self.files = dict(files or {})
        self.asked: list[str] = []
        self.headers: dict[str, dict[str, str]] = {}

    def __call__(self, uri: str, headers: Mapping[str, str] | None = None, limit: int = 65536) -> Fetched:
        uri = uri.partition("?mac=")[0]  # who asks for the second stage says who it is
        self.asked.append(uri)
        self.headers[uri] = dict(headers or {})
        if uri not in self.files:
            return Fetched(uri=uri, state=FetchState.MISSING, detail="HTTP status 404")
        content = self.files[uri]
        return Fetched(uri=uri, state=FetchState.FOUND, size=len(content), head=content[:limit], whole=True)


FILES = {f"{BASE}/kernel": b"k" * 99, f"{BASE}/initrd": b"i" * 99}


def go(
    script: str, files: Mapping[str, bytes] | None = None, **variables: str
) -> tuple[ScriptEnd, ScriptTrace, Web]:
    web = Web(FILES if files is None else files)
    end, trace = run_script(f"#!ipxe\n{script}".encode(), HERE, settings=variables, fetch=web)
    return end, trace, web


def test_a_kernel_an_initrd_and_boot() -> None:
    end, trace, _ = go("dhcp\nkernel kernel init=/x ${cmdline} quiet\ninitrd --name i initrd\nboot")
    assert end is ScriptEnd.BOOT
    assert trace.boot is not None
    assert (trace.boot.kernel, trace.boot.initrds) == (f"{BASE}/kernel", (f"{BASE}/initrd",))
    assert trace.boot.arguments == "init=/x quiet"
    assert [(file.role.value, file.found) for file in trace.files] == [("kernel", True), ("initrd", True)]


def test_the_next_mirror_is_taken() -> None:
    end, _, web = go(
        "kernel http://192.0.2.9/kernel || kernel kernel || goto failed\ninitrd initrd\nboot\n:failed\nshell"
    )
    assert end is ScriptEnd.BOOT
    assert web.asked == ["http://192.0.2.9/kernel", f"{BASE}/kernel", f"{BASE}/initrd"]


def test_retries_with_a_counter_come_to_their_end() -> None:
    end, trace, web = go(
        "set tries:int32 0\nset n 0\n:retry\ninc n\nchain missing.ipxe ||\n"
        "iseq ${n} 5 || goto retry\necho gave up\nreboot"
    )
    assert end is ScriptEnd.REBOOT
    assert set(web.asked) == {f"{BASE}/missing.ipxe"}
    assert len(trace.files) == 1


def test_a_loop_without_end_is_told() -> None:
    assert go(":again\ngoto again")[0] is ScriptEnd.ENDLESS
    assert go("chain autoexec.ipxe", {HERE: b"#!ipxe\nchain autoexec.ipxe\n"})[0] is ScriptEnd.FAILED


def test_a_chained_script_goes_on_where_it_fails() -> None:
    files = {**FILES, f"{BASE}/a.ipxe": b"#!ipxe\nkernel nothing\n"}
    end, trace, _ = go("chain a.ipxe || goto other\nexit\n:other\nkernel kernel\nboot", files)
    assert end is ScriptEnd.BOOT
    assert f"{BASE}/nothing" in [file.fetched.uri for file in trace.files]


def test_exit_returns_to_the_script_that_chained() -> None:
    files = {**FILES, f"{BASE}/a.ipxe": b"#!ipxe\nexit\nshell\n"}
    assert go("chain a.ipxe\nkernel kernel\nboot", files)[0] is ScriptEnd.BOOT
    assert go("exit")[0] is ScriptEnd.DONE
    assert go("exit 1")[0] is ScriptEnd.FAILED


def test_variables() -> None:
    end, _, web = go(
        "set base http://192.0.2.2:8080\nisset ${net0/mac} || shell\n"
        "isset ${nothing} && shell ||\nset k ${base}/${name}\nkernel ${k}-${net0/mac:hexhyp}\nboot",
        {f"{BASE}/kernel-02-00": b"k"},
        **{"net0/mac": "02:00", "name": "kernel"},
    )
    assert end is ScriptEnd.BOOT
    assert web.asked == [f"{BASE}/kernel-02-00"]


def test_a_hash_is_taken_to_be_the_one_that_is_expected() -> None:
    end, _, _ = go("kernel kernel\nsha256sum --set d kernel\niseq ${d} 0123abcd || reboot\nboot")
    assert end is ScriptEnd.BOOT


def test_a_hash_is_compared_where_it_can_be_had() -> None:
    script = b"#!ipxe\nkernel kernel\nsha256sum --set d kernel\niseq ${d} 0123abcd || reboot\nboot\n"

    def run(digest: str | None) -> tuple[ScriptEnd, ScriptTrace]:
        return run_script(script, HERE, settings={}, fetch=Web(FILES), find_digest=lambda _u, _h: digest)

    assert run("0123abcd")[0] is ScriptEnd.BOOT
    assert run(None)[0] is ScriptEnd.BOOT
    end, trace = run("deadbeef")
    assert end is ScriptEnd.REBOOT
    assert trace.mismatches == [Mismatch(uri=f"{BASE}/kernel", digest="deadbeef", expected="0123abcd")]


def test_a_header_goes_with_the_uri_that_asks_for_it() -> None:
    files = {f"{BASE}/netboot.ipxe": b"#!ipxe\nshell\n"}
    end, _, web = go("params\nparam --header X-Boot-Token geheim\nchain netboot.ipxe##params", files)
    assert end is ScriptEnd.SHELL
    assert web.headers == {f"{BASE}/netboot.ipxe": {"X-Boot-Token": "geheim"}}


@pytest.mark.parametrize(
    ("script", "end"),
    [
        ("shell", ScriptEnd.SHELL),
        ("poweroff", ScriptEnd.REBOOT),
        ("sanboot --drive 0x80", ScriptEnd.LOCAL),
        ("prompt press a key", ScriptEnd.MENU),
        ("prompt --timeout 3000 press a key || shell", ScriptEnd.SHELL),
        ("menu A\nitem a b\nchoose x", ScriptEnd.MENU),
        ("menu A\nitem a b\nchoose --timeout 3000 --default a x\ngoto ${x}\n:a\nshell", ScriptEnd.SHELL),
        ("boot", ScriptEnd.FAILED),
        ("goto nowhere", ScriptEnd.FAILED),
        ("echo only words", ScriptEnd.DONE),
        ("kernel", ScriptEnd.FAILED),
        ("# kernel nothing\n\n  \n:label", ScriptEnd.DONE),
        ("echo a # kernel nothing", ScriptEnd.DONE),
        ("kernel nothing ; shell", ScriptEnd.SHELL),
        ("echo a ; kernel nothing ; boot", ScriptEnd.FAILED),
        ("goto a ; shell\n:a\nreboot", ScriptEnd.REBOOT),
        ("goto a && shell\n:a\nreboot", ScriptEnd.REBOOT),
        ("goto a || shell\n:a reboot", ScriptEnd.REBOOT),
        ("exit 1 || shell", ScriptEnd.FAILED),
        ("exit 1 ; shell", ScriptEnd.FAILED),
        ("exit ; shell", ScriptEnd.DONE),
        ("kernel kernel \\\n  quiet\nboot", ScriptEnd.BOOT),
        ("echo \\\nshell", ScriptEnd.DONE),
        ("shell\\\n", ScriptEnd.FAILED),
        ("echo a\u2028shell\rshell", ScriptEnd.DONE),
        ("kernel nothing || echo b && shell", ScriptEnd.SHELL),
        ("echo a || echo b && shell", ScriptEnd.SHELL),
        ("kernel nothing && echo b || shell", ScriptEnd.SHELL),
    ],
)
def test_ends(script: str, end: ScriptEnd) -> None:
    assert go(script)[0] is end


def test_a_program_and_a_page() -> None:
    files = {f"{BASE}/grub.efi": build_uefi_application(), f"{BASE}/login": b"<html>log in</html>"}
    assert go("chain grub.efi", files)[0] is ScriptEnd.PROGRAM
    end, trace, _ = go("chain login || shell", files)
    assert end is ScriptEnd.SHELL
    assert trace.files[0].is_unreadable


def test_the_products_own_scripts_lead_to_the_kernel() -> None:
    settings = load_netboot_settings(
        None,
        flags={"hostname": "192.0.2.9", "mirrors": [BASE], "chainTokenFile": "/run/token"},
        environment={},
    )
    files = {"kernel": FileRecord(size=9, sha256="0" * 64), "initrd": FileRecord(size=9, sha256="1" * 64)}
    release = Release(
        id=build_id(files),
        tag=None,
        staged_at=1,
        files=files,
        systems=(
            make_system(BootEntry(kernel="kernel", arguments=("init=/x", "${cmdline}"), initrds=("initrd",))),
        ),
    )
    directory = f"{BASE}/releases/{release.id}"
    kernel = bytes(0x202) + b"HdrS" + bytes(99)
    netboot = build_netboot(settings, release, "geheim").encode()
    web = Web(
        {f"{BASE}/netboot.ipxe": netboot, f"{directory}/kernel": kernel, f"{directory}/initrd": b"i" * 9}
    )
    first = build_autoexec(settings, "geheim").encode()
    end, trace = run_script(first, HERE, settings={}, fetch=web)
    assert end is ScriptEnd.BOOT
    assert trace.boot == KernelBoot(
        kernel=f"{directory}/kernel", arguments="init=/x", initrds=(f"{directory}/initrd",)
    )
    assert web.headers[f"{BASE}/netboot.ipxe"] == {"X-Boot-Token": "geheim"}
    assert web.headers[f"{directory}/kernel"] == {}
    # The server's own name comes first, and is not there.
    assert web.asked[0] == "http://192.0.2.9:8080/netboot.ipxe"
    del web.files[f"{directory}/kernel"]
    end, trace = run_script(first, HERE, settings={}, fetch=web)
    assert end is ScriptEnd.SHELL
    missing = [file for file in trace.files if not file.found and "releases" in file.fetched.uri]
    assert {file.role for file in missing} == {Role.KERNEL}


def test_a_kernel_may_be_chained() -> None:
    kernel = bytes(0x202) + b"HdrS" + bytes(99)
    end, trace, _ = go("initrd initrd\nchain vmlinuz quiet", {**FILES, f"{BASE}/vmlinuz": kernel})
    assert end is ScriptEnd.BOOT
    assert trace.boot is not None
    assert trace.boot.arguments == "quiet"


def test_what_is_not_known_is_noted() -> None:
    end, trace, _ = go("frobnicate\nfrobnicate\nkernel kernel\nboot")
    assert end is ScriptEnd.BOOT
    assert trace.notes == ["the command 'frobnicate' is not known here, and taken to succeed"]


def test_use_of_next_server_is_kept() -> None:
    assert "next-server" in go("chain tftp://${next-server}/a || shell")[1].used


@pytest.mark.parametrize(
    ("base", "uri", "expected"),
    [
        ("tftp://192.0.2.2/dir/a.efi", "autoexec.ipxe", "tftp://192.0.2.2/dir/autoexec.ipxe"),
        ("tftp://192.0.2.2/dir/a.efi", "/autoexec.ipxe", "tftp://192.0.2.2/autoexec.ipxe"),
        ("http://h:1/a.ipxe?token=/x", "b", "http://h:1/b"),
        ("http://h/a", "tftp://i/b", "tftp://i/b"),
    ],
)
def test_uris_are_relative_to_the_script(base: str, uri: str, expected: str) -> None:
    assert join_uri(base, uri) == expected


WORDS = st.sampled_from(
    [
        *("||", "&&", "#", ":a", "a", "x", "1", "--", "--name", "--header", "--set", "${a}", "${${a}}"),
        *(
            "set",
            "goto",
            "inc",
            "iseq",
            "isset",
            "kernel",
            "initrd",
            "chain",
            "boot",
            "exit",
            "params",
            "param",
        ),
        *("imgfree", "sha256sum", "choose", "prompt", "${cwduri}", "http://h/", "##params"),
    ]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(WORDS, max_size=6).map(" ".join), max_size=12))
def test_any_script_comes_to_an_end(lines: list[str]) -> None:
    end, _, web = go("\n".join(lines), {})
    assert isinstance(end, ScriptEnd)
    assert len(web.asked) < 100_000


@given(st.binary(max_size=400))
def test_any_bytes_come_to_an_end(script: bytes) -> None:
    assert isinstance(run_script(script, HERE, settings={}, fetch=Web())[0], ScriptEnd)

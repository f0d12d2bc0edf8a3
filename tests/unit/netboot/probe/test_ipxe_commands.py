"""Each command of an iPXE script as the probe goes through it: how it went, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address
from typing import Any

import pytest
from support.boot_binaries import build_uefi_application

from ectools.netboot.probe.simulate.fetcher import Fetched, FetchState
from ectools.netboot.probe.simulate.ipxe import run_script
from ectools.netboot.probe.simulate.ipxe_trace import KernelBoot, Mismatch, ScriptEnd, ScriptTrace
from ectools.netboot.probe.simulate.requested_file import Role
from ectools.netboot.probe.simulate.resolve import NameServers

BASE = "http://192.0.2.2"
HERE = f"{BASE}/d/a.ipxe"
LINUX = bytes(0x202) + b"HdrS" + bytes(9)


class Web:
    """Files by their path below ``BASE/d/``, by URI else; keeps what was asked for."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = {name if "://" in name else f"{BASE}/d/{name}": data for name, data in files.items()}
        self.asked: list[tuple[str, dict[str, str]]] = []

    def __call__(self, uri: str, headers: Mapping[str, str] | None = None) -> Fetched:
        self.asked.append((uri, dict(headers or {})))
        data = self.files.get(uri)
        if data is None:
            return Fetched(uri=uri, state=FetchState.MISSING)
        return Fetched(uri=uri, state=FetchState.FOUND, head=data, whole=True)

    @property
    def uris(self) -> list[str]:
        return [uri.removeprefix(f"{BASE}/d/") for uri, _ in self.asked]


FILES = {"k": b"k", "i": b"i", "j": b"j", "v": LINUX}


def go(
    *lines: str, files: Mapping[str, bytes] = FILES, digest: Any = None, **settings: str
) -> tuple[ScriptEnd, ScriptTrace, Web]:
    web = Web(files)
    script = "\n".join(("#!ipxe", *lines)).encode()
    end, trace = run_script(script, HERE, settings=settings, fetch=web, find_digest=digest)
    return end, trace, web


def succeeds(*lines: str, **options: Any) -> bool:
    """Whether the last line's first command succeeds."""
    *before, last = lines
    end, _, _ = go(*before, f"{last} && shell || reboot", **options)
    assert end in (ScriptEnd.SHELL, ScriptEnd.REBOOT), end
    return end is ScriptEnd.SHELL


def test_a_script_sets_its_name_server() -> None:
    """From there on, hosts are asked for there; before, where the offer says."""
    asked: list[tuple[str, Any]] = []

    def fetch(uri: str, _headers: object, names: Any = "the offer's") -> Fetched:
        asked.append((uri.rpartition("/")[2], names))
        return Fetched(uri=uri, state=FetchState.FOUND, head=b"x", whole=True)

    lines = ("imgfetch a", "set dns 192.0.2.53", "imgfetch b", "set net0/dns nonsense", "imgfetch c")
    run_script("\n".join(("#!ipxe", *lines)).encode(), HERE, settings={}, fetch=fetch)
    servers = NameServers(addresses=(IPv4Address("192.0.2.53"),))
    assert asked == [("a", "the offer's"), ("b", servers), ("c", NameServers())]


# Variables


def expand(text: str, *before: str, **settings: str) -> str:
    """What a word becomes, seen by what is fetched; ``-`` for nothing at all."""
    _, _, web = go(*before, f"imgfetch x://{text} ||", **settings)
    return web.asked[-1][0].removeprefix("x://")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a${n}b", "a7b"),
        ("${none}x", "x"),
        ("${n}${n}", "77"),
        ("${${name}}", "7"),
        ("${mac}", "02:00:0a"),
        ("${mac:hexhyp}", "02-00-0a"),
        ("${mac:hexraw}", "02000a"),
        ("${mac:string}", "02:00:0a"),
        ("${none:hexhyp}x", "x"),
        ("${open", "${open"),
        ("$n", "$n"),
        ("${self}", "${self}"),
    ],
)
def test_expansion(text: str, expected: str) -> None:
    settings = {"n": "7", "name": "n", "mac": "02:00:0a", "self": "${self}"}
    assert expand(text, **settings) == expected


def test_expansion_is_bounded() -> None:
    assert len(expand("${a}", a="y" * 5000)) == 4096 - len("x://")
    # One after the other, each is expanded; 32 of them, and then it ends.
    assert expand("${a}" * 32 + "x", a="b") == "b" * 32 + "x"
    assert expand("${a}" * 33, a="b") == "b" * 32 + "${a}"


def test_variables_that_are_used_are_kept() -> None:
    _, trace, _ = go("echo ${a:hexhyp} ${net0/${b}}", b="mac")
    assert trace.used == {"a", "b", "net0/mac"}


def test_a_word_may_become_none_or_hold_blanks() -> None:
    _, trace, _ = go("kernel k ${none} a ${two} b", "boot", two="x  y")
    assert trace.boot is not None
    assert trace.boot.arguments == "a x  y b"


@pytest.mark.parametrize(
    ("lines", "value"),
    [
        (["set v 1"], "1"),
        (["set v:int32 1"], "1"),
        (["set v a b"], "a b"),
        (["set v 1", "set v"], ""),
        (["set v 1", "clear v"], ""),
        (["set v 1", "set w 2", "clear w v"], ""),
        (["inc v"], "1"),
        (["set v 5", "inc v"], "6"),
        (["set v 5", "inc v 3"], "8"),
        (["set v 0x10", "inc v 0x1"], "17"),
        (["set v x", "inc v || set v bad"], "bad"),
        (["set v 1", "inc v x || set v bad"], "bad"),
    ],
)
def test_settings(lines: list[str], value: str) -> None:
    assert expand("${v}", *lines) == value


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("set", False),
        ("set v", True),
        ("clear", True),
        ("inc", False),
        ("isset", False),
        ("isset x", True),
        ("isset ${none}", False),
        ("iseq a a", True),
        ("iseq a b", False),
        ("iseq a", False),
        ("iseq", True),
        ("iseq ${none} ${none}", True),
        ("goto", False),
        ("goto none", False),
        ("imgargs", False),
        ("imgargs none a", False),
        ("imgfree none", True),
        ("params", True),
        ("param", True),
        ("param --header a", True),
        ("kernel", False),
        ("kernel none", False),
        ("kernel k", True),
        ("initrd none", False),
        ("initrd i", True),
        ("imgfetch none", False),
        ("imgfetch k", True),
        ("prompt --timeout 5", False),
        ("prompt -t 5", False),
        ("choose --timeout 5 --default a v", True),
        ("choose -t 5 -d a v", True),
        ("sha256sum none", False),
        ("md5sum none", False),
        ("dhcp", True),
        ("colour --basic 1", True),
        ("unheard-of", True),
        ("boot", False),
        ("boot none", False),
    ],
)
def test_how_a_command_goes(line: str, expected: bool) -> None:
    assert succeeds(line) is expected


def test_a_number_is_cut_at_32_characters() -> None:
    assert expand("${v}", "set v 1", f"inc v {'9' * 40}") == "1" + "0" * 31


@pytest.mark.parametrize(
    ("line", "end"),
    [
        ("prompt", ScriptEnd.MENU),
        ("prompt --key 0x02 text", ScriptEnd.MENU),
        ("choose v", ScriptEnd.MENU),
        ("choose --timeout 5 v", ScriptEnd.MENU),
        ("choose --default a v", ScriptEnd.MENU),
        ("choose --timeout 5 --default a", ScriptEnd.MENU),
        ("login", ScriptEnd.MENU),
        ("config", ScriptEnd.MENU),
        ("shell", ScriptEnd.SHELL),
        ("reboot", ScriptEnd.REBOOT),
        ("poweroff", ScriptEnd.REBOOT),
        ("sanboot http://h/x", ScriptEnd.LOCAL),
        ("fcoe", ScriptEnd.LOCAL),
        ("exit", ScriptEnd.DONE),
        ("exit 0", ScriptEnd.DONE),
        ("exit 2", ScriptEnd.FAILED),
        ("isset", ScriptEnd.FAILED),
        ("echo", ScriptEnd.DONE),
    ],
)
def test_how_a_script_ends(line: str, end: ScriptEnd) -> None:
    assert go(line, "kernel k")[0] in (end, ScriptEnd.DONE)
    assert go(line)[0] is end


def test_a_choice_that_runs_out_is_told() -> None:
    end, trace, _ = go("choose --timeout 5 --default a v && iseq ${v} a && shell || reboot")
    assert (end, trace.notes) == (ScriptEnd.SHELL, ["a menu: after its time, 'a' is taken"])


def test_notes_are_told_once() -> None:
    _, trace, _ = go("frob", "frob", "nicate", "echo")
    assert trace.notes == [
        f"the command '{name}' is not known here, and taken to succeed" for name in ("frob", "nicate")
    ]


# Images


def test_an_image_has_its_files_name_or_the_one_that_is_given() -> None:
    end, trace, web = go("imgfetch k?x=y", "imgargs k a b", "boot k")
    assert (end, web.uris) == (ScriptEnd.FAILED, ["k?x=y"])
    for option in ("--name n", "-n n", "--name=n", "-nn"):
        end, trace, web = go(f"imgfetch {option} v first", "imgargs n a b", "boot n")
        assert (end, web.uris) == (ScriptEnd.BOOT, ["v"])
        assert trace.boot == KernelBoot(kernel=f"{BASE}/d/v", arguments="a b", initrds=())


def test_an_image_that_is_there_is_not_fetched_again() -> None:
    _, trace, web = go("kernel k one", "kernel k", "boot")
    assert web.uris == ["k"]
    assert trace.boot is not None
    assert trace.boot.arguments == "one"
    _, trace, _ = go("kernel k one", "kernel k two three", "boot")
    assert trace.boot is not None
    assert trace.boot.arguments == "two three"


def test_images_are_freed_by_name_or_all() -> None:
    _, _, web = go("imgfetch k", "imgfetch i", "imgfree k", "imgfetch k", "imgfetch i")
    assert web.uris == ["k", "i", "k"]
    _, _, web = go("imgfetch k", "imgfetch i", "imgfree", "imgfetch k", "imgfetch i")
    assert web.uris == ["k", "i", "k", "i"]


@pytest.mark.parametrize("word", ["kernel", "imgselect", "imgload"])
def test_what_is_selected_is_booted(word: str) -> None:
    end, trace, _ = go("imgfetch j", f"{word} k a", "initrd i", "module --name m j", "boot")
    assert end is ScriptEnd.BOOT
    # What was merely fetched goes with it; it has its name, so that the module is the same image.
    assert trace.boot == KernelBoot(
        kernel=f"{BASE}/d/k", arguments="a", initrds=(f"{BASE}/d/j", f"{BASE}/d/i")
    )


def test_a_kernel_that_is_not_there_deselects() -> None:
    assert go("kernel k", "kernel none ||", "boot")[0] is ScriptEnd.FAILED


@pytest.mark.parametrize("word", ["boot", "chain", "imgexec"])
def test_what_is_executed(word: str) -> None:
    files = {"a": b"#!ipxe\nexit\n", "b": b"#!ipxe\nfail || exit 1\nisset\n", "p": build_uefi_application()}
    files |= {"page": b"<html>", "none": b"", "s": b"#!ipxe\nshell\n", "v": LINUX}
    assert succeeds(f"{word} a", files=files)
    assert not succeeds(f"{word} b", files=files)
    assert not succeeds(f"{word} page", files=files)
    assert not succeeds(f"{word} none", files=files)
    assert go(f"{word} s", files=files)[0] is ScriptEnd.SHELL
    assert go(f"{word} p", files=files)[0] is ScriptEnd.PROGRAM
    assert go(f"{word} v a", files=files)[0] is ScriptEnd.BOOT


def test_initrds_are_those_images_that_may_be_one() -> None:
    files = {**FILES, "s.ipxe": b"#!ipxe\nexit\n", "linux": LINUX}
    _, trace, _ = go(
        "chain s.ipxe", "imgfetch data", "imgfetch linux", "initrd i", "kernel v", "boot",
        files={**files, "data": b"d"},
    )  # fmt: skip
    assert trace.boot is not None
    assert trace.boot.initrds == (f"{BASE}/d/data", f"{BASE}/d/i")


def test_a_linux_that_was_fetched_for_nothing_else_is_booted() -> None:
    end, trace, _ = go("imgfetch --name x v", "imgexec x")
    assert (end, trace.boot) == (ScriptEnd.BOOT, KernelBoot(kernel=f"{BASE}/d/v", arguments="", initrds=()))


def test_roles_are_by_the_command_else_by_the_name() -> None:
    files = {"initrd": b"i", "vmlinuz": b"k", "b.ipxe": b"#!ipxe\n", "x": b"x"}
    _, trace, _ = go(
        "imgfetch initrd", "imgfetch vmlinuz", "imgfetch b.ipxe", "imgfetch x", "imgfree", "initrd vmlinuz",
        "kernel x", "chain b.ipxe ||", files=files,
    )  # fmt: skip
    assert [(file.fetched.uri.rpartition("/")[2], file.role) for file in trace.files] == [
        ("initrd", Role.INITRD),
        ("vmlinuz", Role.KERNEL),
        ("b.ipxe", Role.SCRIPT),
        ("x", Role.FILE),
        ("vmlinuz", Role.INITRD),
        ("x", Role.KERNEL),
    ]


def test_scripts_may_chain_sixteen_deep() -> None:
    files = {f"{n}": f"#!ipxe\nchain {n + 1}\n".encode() for n in range(1, 40)}
    end, _, web = go("chain 1", files=files)
    assert end is ScriptEnd.FAILED
    # That one is loaded, and not run.
    assert web.uris == [str(n) for n in range(1, 18)]


def test_a_script_has_so_many_lines_and_no_more() -> None:
    assert go(*["echo"] * 19_000)[0] is ScriptEnd.DONE
    assert go(*["echo"] * 20_000)[0] is ScriptEnd.ENDLESS


def test_a_chained_scripts_labels_and_directory_are_its_own() -> None:
    files = {
        f"{BASE}/e/b.ipxe": b"#!ipxe\ngoto x || imgfetch k ||\nexit\n",
        "k": b"k",
    }
    end, _, web = go("chain ../e/b.ipxe || chain /e/b.ipxe", "goto x", ":x shell", files=files)
    assert end is ScriptEnd.SHELL
    assert [uri for uri, _ in web.asked][-1] == f"{BASE}/e/k"


# Headers


def test_headers_go_with_parameters_and_are_cleared() -> None:
    files = {"a": b"a", "b": b"b", "c": b"c", "d": b"d"}
    _, _, web = go(
        "params", "param --header X one two", "param -H Y three", "param Z four", "param --header W",
        "imgfetch a##params", "imgfetch b", "params", "imgfetch c##params", files=files,
    )  # fmt: skip
    assert web.asked == [
        (f"{BASE}/d/a", {"X": "one two", "Y": "three"}),
        (f"{BASE}/d/b", {}),
        (f"{BASE}/d/c", {}),
    ]


# Digests


def test_a_digest_is_compared_with_the_headers_that_the_file_was_fetched_with() -> None:
    asked: list[tuple[str, dict[str, str]]] = []

    def find(uri: str, headers: Mapping[str, str]) -> str:
        asked.append((uri, dict(headers)))
        return "abc"

    lines = ["params", "param --header X y", "kernel k##params", "sha256sum --set d k"]
    end, trace, _ = go(*lines, "iseq ${d} abc || shell", "boot", digest=find)
    assert (end, trace.mismatches) == (ScriptEnd.BOOT, [])
    assert asked == [(f"{BASE}/d/k", {"X": "y"})]
    end, trace, _ = go(*lines, "iseq ${d} 1 ||", "iseq ${d} 1 ||", "iseq 2 1 || shell", digest=find)
    assert end is ScriptEnd.SHELL
    assert trace.mismatches == [Mismatch(uri=f"{BASE}/d/k", digest="abc", expected="1")]


@pytest.mark.parametrize("option", ["--set d", "-s d", "--set=d"])
@pytest.mark.parametrize("command", ["sha256sum", "md5sum", "sha1sum", "sha512sum"])
def test_a_digest_that_is_not_had_is_any(option: str, command: str) -> None:
    lines = ["kernel k", f"{command} {option} k"]
    assert succeeds(*lines, "iseq ${d} 0123")
    assert succeeds(*lines, "iseq 0123 ${d}")
    assert succeeds(*lines, "isset ${d}")
    assert succeeds(*lines, "iseq ${d} 0123", digest=lambda _uri, _headers: None)


def test_a_digest_of_nothing_or_for_nothing() -> None:
    def find(_uri: str, _headers: Mapping[str, str]) -> str:
        return "abc"

    assert not succeeds("kernel k", "sha256sum --set d none", digest=find)
    assert not succeeds("kernel k", "sha256sum --set d", digest=find)
    assert succeeds("kernel k", "sha256sum k", digest=find)
    # Set all the same, as a script that goes on has it.
    assert succeeds("kernel k", "sha256sum --set d none ||", "isset ${d}", digest=find)

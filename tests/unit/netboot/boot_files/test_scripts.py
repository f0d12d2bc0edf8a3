from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.golden import compare
from support.staged import ARGUMENTS, make_release

from ectools.ipxe.errors import NOBODY_ANSWERS, REASONS
from ectools.ipxe.urls import URL
from ectools.netboot.boot_files.scripts.checked import ScriptError
from ectools.netboot.boot_files.scripts.first_stage import build_autoexec
from ectools.netboot.boot_files.scripts.reporting import ScriptBoot
from ectools.netboot.boot_files.scripts.second_stage import build_netboot
from ectools.netboot.settings.load import load_netboot_settings

if TYPE_CHECKING:
    from ectools.netboot.settings.model import NetbootSettings

TOKENS = st.from_regex(r"[A-Za-z0-9._~/=:@-]{1,512}", fullmatch=True).filter(lambda text: "\n" not in text)
# What is near to what passes, and what is far from it.
WORDS = st.sampled_from(
    ["||", "&&", ";", "#x", "a b", "${ec-x}", "$${a}", "${a${b}}", "x\\", "a\tb", "é", ""]
)
ANYTHING = WORDS | st.text(max_size=30) | st.text(st.sampled_from("a/.-_${}|&;#\\ \n"), max_size=12)


def settings_of(**flags: Any) -> NetbootSettings:
    given = {"hostname": "192.0.2.10", **{name.replace("__", "."): value for name, value in flags.items()}}
    return load_netboot_settings(None, flags=given, environment={})


SETTINGS = settings_of(mirrors=["https://cache.example.org/netboot"])
RELEASE = make_release()


def skeleton(script: str) -> list[list[str]]:
    """What iPXE would run: each line's label or commands, without their arguments."""
    lines = []
    for line in script.split("\n"):
        words = [word for word in re.split(r"[ \t\n\v\f\r]+", line) if word]
        if words and words[0].startswith(":"):
            lines.append(words)
            continue
        comment = next((index for index, word in enumerate(words) if word.startswith("#")), len(words))
        starts = [index + 1 for index, word in enumerate(words) if word in ("||", "&&", ";")]
        commands = [words[index] for index in (0, *starts) if index < comment]
        lines.append([*commands, *(["\\"] if line.endswith("\\") else [])])
    return lines


def variables(script: str) -> set[str]:
    return set(re.findall(r"\$\{[^}]*\}?", script))


@pytest.mark.parametrize(
    ("name", "settings", "token"),
    [
        ("plain", settings_of(), None),
        ("mirrors-token", SETTINGS, "t0k/en"),
        (
            "all-protected-reboot",
            settings_of(
                protectedFiles=["netboot.ipxe", "initrd"],
                ipxe__attempts=2,
                ipxe__onFailure="reboot",
                ipxe__verify=False,
            ),
            "t0k/en",
        ),
    ],
)
def test_the_scripts_as_they_are(name: str, settings: NetbootSettings, token: str | None) -> None:
    compare(f"netboot/{name}.autoexec.ipxe", build_autoexec(settings, token))
    compare(f"netboot/{name}.netboot.ipxe", build_netboot(settings, RELEASE, token))


def test_a_machines_own_script_as_it_is() -> None:
    boot = ScriptBoot(id="0123abc", token="t-o_ken", within=600, units=("a.service", "b.service"))
    protected = ["netboot.ipxe", "initrd"]
    settings = settings_of(mirrors=["https://cache.example.org/netboot"], protectedFiles=protected)
    compare("netboot/machine-token.netboot.ipxe", build_netboot(settings, RELEASE, "t0k/en", boot=boot))


@given(st.from_regex(URL, fullmatch=True).map(str.strip) | ANYTHING)
def test_no_base_url_changes_the_commands(url: str) -> None:
    settings = replace(SETTINGS, mirrors=(url,))
    for build in (build_autoexec, lambda these, token: build_netboot(these, RELEASE, token)):
        try:
            script = build(settings, None)
        except ScriptError:
            continue
        assert skeleton(script) == skeleton(build(SETTINGS, None))
        assert variables(script) == variables(build(SETTINGS, None))


@given(st.lists(ANYTHING, max_size=3), st.lists(st.from_regex(r"[!-~]{1,20}", fullmatch=True), max_size=3))
def test_no_argument_changes_the_commands(odd: list[str], plain: list[str]) -> None:
    release = make_release(arguments=(*odd, *plain))
    try:
        script = build_netboot(SETTINGS, release, None)
    except ScriptError:
        return
    assert skeleton(script) == skeleton(build_netboot(SETTINGS, RELEASE, None))
    assert " ".join(["imgargs bzImage", *odd, *plain]) in script.split("\n")
    assert not any(name.startswith("${ec-") for word in (*odd, *plain) for name in variables(word))


@given(ANYTHING | st.from_regex(r"[A-Za-z0-9._/-]{1,20}", fullmatch=True))
def test_no_file_name_changes_the_commands(name: str) -> None:
    try:
        script = build_netboot(SETTINGS, make_release({name: b"k", "other": b"i"}), None)
    except ScriptError:
        return
    assert skeleton(script) == skeleton(build_netboot(SETTINGS, RELEASE, None))
    assert variables(script) <= variables(build_netboot(SETTINGS, RELEASE, None))


@given(TOKENS | ANYTHING)
def test_no_token_changes_the_commands_and_no_message_shows_it(token: str) -> None:
    try:
        script = build_autoexec(SETTINGS, token)
    except ScriptError:
        return
    assert skeleton(script) == skeleton(build_autoexec(SETTINGS, "t"))
    assert variables(script) == variables(build_autoexec(SETTINGS, "t"))
    without = build_autoexec(SETTINGS, "t").split("\n")
    changed = [line for line, other in zip(script.split("\n"), without, strict=True) if line != other]
    assert all(re.match(r"(params --name ec|imgfetch) ", line) for line in changed)


@pytest.mark.parametrize(
    "arguments",
    [
        ("||",),
        ("a", "&&", "shell"),
        (";",),
        ("#x",),
        ("a b",),
        ("x\nshell",),
        ("${ec-path}",),
        ("${a",),
        ("é",),
        ("\\",),
    ],
)
def test_an_argument_that_could_be_a_command_is_refused(arguments: tuple[str, ...]) -> None:
    with pytest.raises(ScriptError):
        build_netboot(SETTINGS, make_release(arguments=arguments), None)


@pytest.mark.parametrize("name", ["-k", "a b", "ä", "../x", "x;y", "", "a//b", "/a"])
def test_a_file_that_could_be_something_else_is_refused(name: str) -> None:
    with pytest.raises(ScriptError, match="cannot name this file"):
        build_netboot(SETTINGS, make_release({name: b"k"}), None)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a",
        "http://",
        "http://a:0",
        "http://u:p@a",
        "http://a?x",
        "http://a#x",
        "http://a b",
        "http://a:x",
        "a",
    ],
)
def test_a_mirror_that_is_no_base_url_is_refused(url: str) -> None:
    with pytest.raises(ScriptError):
        build_autoexec(replace(SETTINGS, mirrors=(url,)), None)


def test_two_files_of_one_name_are_refused() -> None:
    with pytest.raises(ScriptError, match="one name"):
        build_netboot(SETTINGS, make_release({"bzImage": b"k", "a/initrd": b"1", "b/initrd": b"2"}), None)


def test_every_goto_has_its_label() -> None:
    """With the numbers and the kinds of errors that computed ones can have."""
    settings = settings_of(mirrors=["https://cache.example.org"], protectedFiles=["netboot.ipxe", "initrd"])
    values = {
        "source_${ec-source}": {"0", "1", "2"},
        "file_${ec-file}": {"0", "1", "2"},
        "try_${ec-how}": {"open", "header", "query"},
        "why_${ec-kind}": {f"{code:#x}" for reason in REASONS for code in reason.codes},
        "away_${ec-kind}": {f"{code:#x}" for code in NOBODY_ANSWERS},
        "stall_${ec-round}": {"1", "2"},
        "nic_${ec-for}": {"count", "fetch", "tell"},
        "no_nic_${ec-for}": {"count", "fetch", "tell"},
    }
    for script in (build_autoexec(settings, "t"), build_netboot(settings, RELEASE, "t")):
        labels = set(re.findall(r"^:(\S+)$", script, re.MULTILINE))
        for target in re.findall(r"goto (\S+)", script):
            variable = next(iter(variables(target)), None)
            wanted = {target.replace(variable, value) for value in values[target]} if variable else {target}
            assert wanted <= labels


def test_the_token_goes_only_to_what_asks_for_it() -> None:
    assert "t0ken" not in build_autoexec(settings_of(protectedFiles=["initrd"]), "t0ken")
    assert "t0ken" not in build_netboot(SETTINGS, RELEASE, "t0ken")
    script = build_netboot(settings_of(protectedFiles=["initrd"]), RELEASE, "t0ken")
    kernel, initrd = script.split(":file_1\n")
    assert "set ec-how open" in kernel
    assert initrd.startswith("set ec-name initrd")
    assert "set ec-how ${ec-token}" in initrd


def test_files_are_named_absolutely_and_never_by_the_next_server() -> None:
    for script in (build_autoexec(SETTINGS, "t"), build_netboot(SETTINGS, RELEASE, "t")):
        assert "next-server" not in script
        assert "cwduri" not in script
    netboot = build_netboot(SETTINGS, RELEASE, None)
    assert f"set ec-path /releases/{RELEASE.id}/bzImage" in netboot
    assert f"imgargs bzImage {' '.join(ARGUMENTS)}" in netboot
    # As it is, not only where there is no address yet.
    assert "\n:lease\ndhcp ${ec-nic} && goto leased ||\n" in build_autoexec(SETTINGS, None)

"""Names in the TFTP directory: each by itself, and that no two are one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ectools.netboot.settings.boot_names import check_boot_name, check_extra_files, list_parents
from ectools.netboot.settings.model import NETBOOT_OPTIONS
from ectools.parsing import BadValueError, Problems

NAME = "a name, below directories where wanted, of letters, digits and . _ + -: x86_64-sb/grubx64.efi"


@pytest.mark.parametrize(
    "name",
    [
        *(
            "grubx64.efi",
            "x86_64-sb/shimx64.efi",
            "grub/x86_64-efi/grub.cfg",
            "_a",
            "c++/v1.2/kernel",
            "a" * 127,
        ),
        *("a/b/c/d/e/f/g/h", "a..b", "x/netboot.ipxe", "autoexec.ipxe/a", "release"),
    ],
)
def test_names_that_are_taken(name: str) -> None:
    check_boot_name(name)


@pytest.mark.parametrize(
    ("name", "message", "expected"),
    [
        *(
            (name, "not usable", NAME)
            for name in ("", "/a", "a/", "a//b", "../a", "a/../b", "./a", ".a", "a/.b")
        ),
        *(
            (name, "not usable", NAME)
            for name in ("a b", "a,b", 'a"b', "a\\b", "a%2fb", "é", "a\n", "-a", "a/-b")
        ),
        ("a" * 128, "too long", "at most 127 bytes"),
        ("a/b/c/d/e/f/g/h/i", "too deep", "at most 7 directories"),
        ("netboot.ipxe", "the second boot script's name", "another name"),
        ("Releases/a", "the directory of the staged releases", "another name"),
        ("healthz", "the name of the health report", "another name"),
        ("autoexec.ipxe", "the first boot script's name", "another name"),
        ("sb/AutoExec.ipxe", "the first boot script's name", "another name"),
    ],
)
def test_names_that_are_not(name: str, message: str, expected: str) -> None:
    with pytest.raises(BadValueError) as caught:
        check_boot_name(name)
    assert (caught.value.message, caught.value.expected) == (message, expected)


def find_problems(
    *names: str, boot_filename: str = "sb/shimx64.efi", file: str = "/f"
) -> list[tuple[str, str]]:
    problems = Problems(NETBOOT_OPTIONS)
    check_extra_files(dict.fromkeys(names, file), problems, boot_filename=boot_filename)
    prefix = f"{NETBOOT_OPTIONS}.ipxe.extraFiles"
    return [(each.option.removeprefix(prefix), each.message.partition(":")[0]) for each in problems.found]


def test_a_chain_has_no_problem() -> None:
    assert find_problems("sb/grubx64.efi", "grub/grub.cfg", "sb/deeper/a", "GRUBX64.efi") == []


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["sb/SHIMX64.efi"], [('["sb/SHIMX64.efi"]', "this is tftpBootFilename too")]),
        (["undionly.KPXE"], [('["undionly.KPXE"]', "this is the binary for bios too")]),
        (["ec-ipxe-arm64.efi/a"], [('["ec-ipxe-arm64.efi/a"]', "this is the binary for arm64 too")]),
        (["A", "a"], [('["a"]', 'this is ipxe.extraFiles["A"] too')]),
        (["a/b", "A"], [('["A"]', "this is the directory of another file too")]),
        (["a", "A/b/c"], [('["A/b/c"]', 'this is ipxe.extraFiles["a"] too')]),
        (["SB"], [('["SB"]', "this is the directory of another file too")]),
        # What is no name has no owner either.
        (["../a", "../A"], [('["../a"]', "not usable"), ('["../A"]', "not usable")]),
    ],
)
def test_two_files_never_have_one_name(names: list[str], expected: list[tuple[str, str]]) -> None:
    assert find_problems(*names) == expected


def test_the_stock_binarys_name_is_free_where_another_is_set() -> None:
    assert find_problems("ec-ipxe.efi") == []
    assert find_problems("ec-ipxe.efi", boot_filename="ec-ipxe.efi") != []


def test_the_file_of_a_name_is_an_absolute_path() -> None:
    assert find_problems("a", file="/b/../c") == [('["a"]', "not usable")]


def test_how_many_there_may_be() -> None:
    names = [f"a{number}" for number in range(257)]
    assert find_problems(*names[1:]) == []
    assert find_problems(*names) == [("", "too many files")]


def test_parents_come_from_above() -> None:
    assert list_parents("a/b/c") == ["a", "a/b"]
    assert list_parents("a") == []


@given(st.text(alphabet="aA./_-+\\\0 %é", max_size=12))
def test_what_is_taken_stays_below_and_is_not_hidden(name: str) -> None:
    try:
        check_boot_name(name)
    except BadValueError:
        return
    assert all(segment[0] in "aA_" for segment in name.split("/"))

"""What iPXE understands of a script, and that what may be written is read back as the same words."""

from __future__ import annotations

import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ectools.ipxe.language import (
    SCRIPT_VARIABLE,
    find_labels,
    goes_on,
    is_argument,
    is_file_name,
    is_script,
    is_word,
    join_uri,
    name_image,
    read_lines,
    split_commands,
    split_options,
    split_words,
)
from ectools.ipxe.token import is_token
from ectools.ipxe.urls import URL, expect_url

# What is near to a word, and what is far from one.
NEAR = st.sampled_from(
    [
        *("||", "&&", ";", "#", "#x", "x#", "a;b", "a||b", "|", ":a", "a b", "a\tb", "a\vb", "a\u00a0b", "é"),
        *(
            "\\",
            "a\\",
            "\\a",
            "${",
            "${}",
            "${a}",
            "${a${b}}",
            "$a",
            "$",
            "$${a}",
            "${net0/ip:ipv4}",
            "}",
            "",
        ),
        *("${ec-x}", "$${ec-x}", "a${ec-x", "ec-x", "--name", "-n"),
    ]
)
TEXTS = NEAR | st.text(max_size=12) | st.text("a/.-_${}|&;#\\: \t\r\n\v", max_size=8)


@given(st.lists(TEXTS, min_size=1, max_size=6))
@example(["a", ";"])
@example(["a\\", "b"])
def test_what_may_be_written_is_read_back_as_the_same_words(texts: list[str]) -> None:
    words = [text for text in texts if is_word(text)]
    if words and goes_on(words[-1]):
        words.append("end")
    line, after = read_lines("\n".join([" ".join(["imgargs", "kernel", *words]), "boot"]))
    assert line.words == ("imgargs", "kernel", *words)
    assert list(split_commands(line.words)) == [("", ["imgargs", "kernel", *words])]
    assert after.words == ("boot",)


@given(TEXTS)
def test_what_is_no_word_is_not_read_as_one_or_holds_what_ipxe_would_change(text: str) -> None:
    lines = list(read_lines(f"echo {text} end"))
    whole = len(lines) == 1 and list(split_commands(lines[0].words)) == [("", ["echo", text, "end"])]
    odd = not text.isascii() or not text.isprintable() or "${" in text
    assert is_word(text) or not whole or odd


@given(TEXTS | st.text(string.ascii_letters + string.digits + "._~/=:@-#?&;", min_size=1, max_size=12))
def test_what_a_script_is_given_is_a_word(text: str) -> None:
    """Tokens, files' names, arguments and URLs, each by its own rule."""
    if is_token(text) or is_file_name(text) or is_argument(text) or expect_url(text, instead="") is None:
        assert is_word(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", True),
        ("!", True),
        ("~", True),
        ("a#", True),
        ("a;", True),
        ("|", True),
        ("|||", True),
        ("$", True),
        ("$$", True),
        ("a$b", True),
        ("${a}", True),
        ("$${net0/mac:hexhyp}b", True),
        ("\\", True),
        ("", False),
        (" ", False),
        ("a b", False),
        ("a\n", False),
        ("\x7f", False),
        ("é", False),
        ("#", False),
        ("#a", False),
        ("||", False),
        ("&&", False),
        (";", False),
        ("${", False),
        ("${}", False),
        ("${a", False),
        ("${a b}", False),
        ("${a${b}}", False),
    ],
)
def test_words(text: str, expected: bool) -> None:
    assert is_word(text) is expected
    assert is_argument(text) is expected


@pytest.mark.parametrize("text", ["${ec-path}", "a${ec-x}", "${a}${ec-x}"])
def test_an_argument_names_no_variable_of_the_script_that_is_served(text: str) -> None:
    assert is_word(text)
    assert not is_argument(text)
    assert is_argument(text.replace("ec-", "ed-"))
    assert is_argument("ec-path")


@pytest.mark.parametrize("name", ["a", "0", "a-b_c.d", "A/b.c/d-", "kernel", "x/0"])
def test_names_of_files(name: str) -> None:
    assert is_file_name(name)


@pytest.mark.parametrize(
    "name", ["", "/", "/a", "a/", "a//b", ".a", "a/.b", "-a", "_a", "../a", "a b", "a\n", "é", "a%b", "a~b"]
)
def test_names_that_no_file_has(name: str) -> None:
    assert not is_file_name(name)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"#!ipxe\n", True),
        (b"#!gpxe\r\n", True),
        (b"#!ipxe ", True),
        (b"#!ipxe\v", True),
        (b"#!ipxe", False),
        (b"#!ipxed\n", False),
        (b"#!xpxe\n", False),
        (b" #!ipxe\n", False),
        (b"", False),
    ],
)
def test_the_first_line(data: bytes, expected: bool) -> None:
    assert is_script(data) is expected


def read(script: str) -> list[tuple[int, str | None, tuple[str, ...]]]:
    return [(line.number, line.label, line.words) for line in read_lines(script)]


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("", [(1, None, ())]),
        ("a\nb\n", [(1, None, ("a",)), (2, None, ("b",))]),
        ("a\n\n", [(1, None, ("a",)), (2, None, ())]),
        ("a b\t c\r\n", [(1, None, ("a", "b", "c"))]),
        # Only what iPXE's isspace() knows parts words, and only \n parts lines.
        ("a\u00a0b\x1cc\x85d\u2028e\vf", [(1, None, ("a\u00a0b\x1cc\x85d\u2028e", "f"))]),
        ("a \\\nb\nc", [(1, None, ("a", "b")), (3, None, ("c",))]),
        ("a\\\nb", [(1, None, ("ab",))]),
        ("a\\\r\n b", [(1, None, ("a", "b"))]),
        ("a\\ \nb", [(1, None, ("a\\",)), (2, None, ("b",))]),
        # The second backslash is the joined line's last character again.
        ("a\\\\\n\nb", [(1, None, ("ab",))]),
        ("a # b \\\nc", [(1, None, ("a",))]),
        ("# a \\\nb\nc", [(1, None, ()), (3, None, ("c",))]),
        ("a #b c", [(1, None, ("a",))]),
        ("a b#c", [(1, None, ("a", "b#c"))]),
        (":x", [(1, "x", ())]),
        ("\t:x a b", [(1, "x", ("a", "b"))]),
        (":x #", [(1, "x", ())]),
        (":#x a", [(1, "#x", ("a",))]),
        (": a", [(1, "", ("a",))]),
        ("a :x", [(1, None, ("a", ":x"))]),
    ],
)
def test_lines(script: str, expected: list[tuple[int, str | None, tuple[str, ...]]]) -> None:
    assert read(script) == expected


@pytest.mark.parametrize("script", ["a\\", "b\na\\", "a\\\n", "a\\\\\n"])
def test_a_script_that_ends_in_a_backslash(script: str) -> None:
    *others, last = read_lines(script)
    assert last.is_unfinished
    assert not any(line.is_unfinished for line in others)
    assert last.number == script.count("\n", 0, script.index("\\")) + 1
    assert not next(read_lines("a\\\n\n")).is_unfinished


@given(st.text("ab:#;\\ \r\n"))
def test_every_line_of_a_script_is_part_of_one(script: str) -> None:
    """Nothing is lost but backslashes that join, and returns at an end."""
    lines = list(read_lines(script))
    numbers = [line.number for line in lines]
    assert numbers == sorted(set(numbers))
    assert numbers[0] == 1
    for line in lines:
        if line.label is None and not any(word.startswith("#") for word in split_words(line.text)):
            assert list(line.words) == split_words(line.text)
    kept = str.maketrans("", "", "\\\r\n")
    assert "".join(line.text for line in lines).translate(kept) == script.translate(kept)


def test_labels_lead_to_the_first_of_their_name() -> None:
    lines = list(read_lines("#!ipxe\n:a\ngoto a\n:b dhcp\n:a\n# :c\necho :d\n"))
    assert find_labels(lines) == {"a": 1, "b": 3}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", [("", [])]),
        ("a b", [("", ["a", "b"])]),
        ("a || b && c ; d", [("", ["a"]), ("||", ["b"]), ("&&", ["c"]), (";", ["d"])]),
        ("a ||", [("", ["a"]), ("||", [])]),
        ("|| a", [("", []), ("||", ["a"])]),
        ("a; b", [("", ["a;", "b"])]),
    ],
)
def test_commands(words: str, expected: list[tuple[str, list[str]]]) -> None:
    assert list(split_commands(words.split())) == expected


@pytest.mark.parametrize(
    ("words", "options", "rest"),
    [
        ("a -n b", {}, ["a", "-n", "b"]),
        ("--name x a", {"--name": "x"}, ["a"]),
        ("--name=x a", {"--name": "x"}, ["a"]),
        ("--name= a", {"--name": ""}, ["a"]),
        ("--name=x=y a", {"--name": "x=y"}, ["a"]),
        ("-n x a", {"-n": "x"}, ["a"]),
        ("-nx a", {"-n": "x"}, ["a"]),
        ("-n=x a", {"-n": "=x"}, ["a"]),
        ("-qn x a", {"-q": "", "-n": "x"}, ["a"]),
        ("-qa a", {"-q": "", "-a": ""}, ["a"]),
        ("--quiet a", {"--quiet": ""}, ["a"]),
        ("--header a", {"--header": ""}, ["a"]),
        ("--name -q a", {"--name": "", "-q": ""}, ["a"]),
        ("--name", {"--name": ""}, []),
        ("-n", {"-n": ""}, []),
        ("--name x --name y", {"--name": "y"}, []),
        ("-q -- -a", {"-q": ""}, ["-a"]),
        ("- a", {"-": ""}, ["a"]),
    ],
)
def test_options(words: str, options: dict[str, str], rest: list[str]) -> None:
    assert split_options(words.split()) == (options, rest)


@pytest.mark.parametrize(
    "option",
    [
        *("--name", "-n", "--timeout", "-t", "--params", "-p", "--key", "-k"),
        *("--menu", "-m", "--default", "-d", "--set", "-s"),
    ],
)
def test_options_that_take_a_value(option: str) -> None:
    assert split_options([option, "x", "y"]) == ({option: "x"}, ["y"])


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("${a}", "a"),
        ("x${a:b}y", "a:b"),
        ("${a${b}}", "b"),
        ("}${a}", "a"),
        ("${a$b}", "a$b"),
        ("${a{b}", "a{b"),
        ("${}", ""),
    ],
)
def test_the_variable_that_is_expanded_next(text: str, name: str) -> None:
    found = SCRIPT_VARIABLE.search(text)
    assert found is not None
    assert found[1] == name


@pytest.mark.parametrize("text", ["a", "${a", "$a}", "{a}", "$ {a}"])
def test_what_is_no_variable(text: str) -> None:
    assert SCRIPT_VARIABLE.search(text) is None


@pytest.mark.parametrize(
    ("base", "uri", "expected"),
    [
        ("tftp://192.0.2.2/dir/a.efi", "b", "tftp://192.0.2.2/dir/b"),
        ("tftp://192.0.2.2/d/e/a.efi", "b/c", "tftp://192.0.2.2/d/e/b/c"),
        ("tftp://192.0.2.2/dir/a.efi", "/b", "tftp://192.0.2.2/b"),
        ("http://h:1/a?token=/x", "b", "http://h:1/b"),
        ("http://h:1/d/a?token=/x", "b", "http://h:1/d/b"),
        ("http://h", "b", "http://h/b"),
        ("http://h/d/", "b", "http://h/d/b"),
        ("http://h/a", "tftp://i/b", "tftp://i/b"),
    ],
)
def test_a_uri_is_relative_to_the_script(base: str, uri: str, expected: str) -> None:
    assert join_uri(base, uri) == expected


@pytest.mark.parametrize(
    ("uri", "name"),
    [("http://h/d/a?b=c", "a"), ("a", "a"), ("http://h/", ""), ("tftp://h/d/e/f.ipxe", "f.ipxe")],
)
def test_an_image_has_its_files_name(uri: str, name: str) -> None:
    assert name_image(uri) == name


@given(st.from_regex(URL, fullmatch=True).map(lambda text: text.rstrip("\n")))
def test_a_url_with_a_scheme_is_a_word(url: str) -> None:
    assert is_word(f"http://{url}")

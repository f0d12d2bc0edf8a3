"""What nix says on standard error, line by line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pynix_eval_shim import BuildEvent, BuildProgress, Frame
from pynix_eval_shim.messages import Diagnostics, Follower, parse_messages, strip_ansi
from pynix_eval_shim.source import PositionMap

MAGENTA = "\x1b[35;1m"
COMPOSED = "composed (\nx\n)"


def event(**fields: Any) -> str:
    return "@nix " + json.dumps(fields, ensure_ascii=False)


def error(raw: str, **more: Any) -> str:
    return event(action="msg", level=0, msg=f"error: {raw}", raw_msg=raw, **more)


def at(file: str, line: int, column: int) -> dict[str, Any]:
    return {"file": file, "line": line, "column": column}


def parse(*lines: str, sources: PositionMap | None = None) -> Diagnostics:
    return parse_messages("\n".join(lines).encode(), sources or PositionMap())


class TestMessages:
    @pytest.mark.parametrize(
        ("fields", "warnings", "notes"),
        [
            ({"level": 1, "msg": "warning: a"}, ["a"], []),
            ({"level": 1, "msg": "a"}, ["a"], []),
            ({"level": 3, "msg": "warning: a"}, ["a"], []),
            ({"level": 0, "msg": "\x1b[35;1mwarning:\x1b[0m a"}, ["a"], []),
            ({"level": 0, "msg": "evaluation warning: a"}, ["evaluation warning: a"], []),
            ({"level": 0, "msg": "trace: a"}, [], ["trace: a"]),
            ({"level": 0, "msg": "\x1b[1mtrace: a\x1b[0m"}, [], ["trace: a"]),
            ({"level": 2, "msg": "trace: a"}, [], []),
            ({"msg": "a"}, [], []),
            ({"level": 1}, [""], []),
        ],
    )
    def test_warnings_and_notes(self, fields: dict[str, Any], warnings: list[str], notes: list[str]) -> None:
        found = parse(event(action="msg", **fields))
        assert (found.warnings, found.notes, found.faults) == (warnings, notes, [])

    def test_an_error_has_its_raw_message(self) -> None:
        (fault,) = parse(error(" \x1b[1mno\x1b[0m way \n")).faults
        assert fault.message == "no way"
        assert (fault.marked, fault.placed, fault.trace) == (False, False, ())
        assert (fault.file, fault.line, fault.column) == (None, None, None)
        (fault,) = parse(error(f"no {MAGENTA}way\x1b[0m")).faults
        assert (fault.message, fault.marked) == ("no way", True)

    def test_what_is_no_error_has_no_fault(self) -> None:
        assert parse(event(action="msg", level=1, msg="a", raw_msg="a")).faults == []
        assert parse(event(action="start", level=0, msg="error: a", raw_msg="a")).faults == []

    def test_errors_are_in_their_order(self) -> None:
        assert [fault.message for fault in parse(error("a"), error("b"), "error: c").faults] == ["a", "b"]

    def test_the_text_is_readable_and_its_end_is_kept(self) -> None:
        lines = ["plain \x1b[31mred\x1b[0m", event(action="msg", level=1, msg="\x1b[1mbold"), error("x")]
        assert parse(*lines, "", event(action="start", id=1)).text == "plain red\nbold\nerror: x\n"
        text = parse("a" * (1 << 16) + "b").text
        assert len(text) == 1 << 16
        assert text.endswith("ab")
        assert parse("a" * (1 << 16)).text == "a" * (1 << 16)

    def test_other_ends_of_lines_do_not_cut_a_message(self) -> None:
        (fault,) = parse(error("a\u2028b\x85c")).faults
        assert fault.message == "a\u2028b\x85c"

    @pytest.mark.parametrize(
        "line", ["@nix", "@nix ", "@nix [1]", "@nix {", '@nix "x"', " @nix {}", "@nixx {}"]
    )
    def test_what_is_no_event_is_text(self, line: str) -> None:
        assert parse(line).text == line

    def test_events_nested_too_deeply_are_text(self) -> None:
        line = "@nix " + "[" * 100_000
        assert parse(line).text == line[-(1 << 16) :]

    def test_plain_errors_where_there_are_no_others(self) -> None:
        faults = parse(
            "error: a", "  error:b ", "error:", " error: ", "note: error: c", "\x1b[31merror:\x1b[0m d"
        )
        assert [fault.message for fault in faults.faults] == ["a", "b", "d"]
        assert all(fault.marked and fault.placed for fault in faults.faults)


class TestPositions:
    def test_a_files_name_may_carry_its_line(self) -> None:
        for name in ("/a.nix", "/a.nix:3:7"):
            (fault,) = parse(error("x", **at(name, 3, 7))).faults
            assert (fault.file, fault.line, fault.column, fault.placed) == ("/a.nix", 3, 7, True)
        (fault,) = parse(error("x", **at("/a.nix:3:8", 3, 7))).faults
        assert fault.file == "/a.nix:3:8"

    @pytest.mark.parametrize(
        "place",
        [
            {"file": 1, "line": 1, "column": 1},
            {"file": "/a", "line": "1", "column": 1},
            {"file": "/a", "line": 1, "column": None},
            {"file": "/a", "line": 0, "column": 1},
            {"file": "/a", "line": 1},
        ],
    )
    def test_half_a_position_is_none(self, place: dict[str, Any]) -> None:
        (fault,) = parse(error("x", **place)).faults
        assert (fault.file, fault.placed) == (None, False)

    def test_the_first_line_and_column_zero_are_a_position(self) -> None:
        (fault,) = parse(error("x", **at("/a", 1, 0))).faults
        assert (fault.file, fault.line, fault.column) == ("/a", 1, 0)

    def test_a_trace_without_the_shims_own_frames(self) -> None:
        trace = [
            {"raw_msg": "\x1b[1mwithout a place"},
            {"raw_msg": "the shim's", **at("«stdin»", 1, 1)},
            {**at("«stdin»", 2, 1)},
            {"raw_msg": "a file's", **at("/a.nix:4:5", 4, 5)},
        ]
        sources = PositionMap(composed=COMPOSED, regions=((2, 2),))
        (fault,) = parse(error("x", trace=trace), sources=sources).faults
        assert fault.trace == (
            Frame(message="without a place"),
            Frame(message="", file="«string»", line=1, column=1),
            Frame(message="a file's", file="/a.nix", line=4, column=5),
        )
        # Without a position of its own it stands where the innermost frame with one does.
        assert (fault.file, fault.line, fault.column, fault.placed) == ("«string»", 1, 1, False)

    def test_an_error_in_the_shims_text_stands_at_the_nearest_frame_too(self) -> None:
        sources = PositionMap(composed=COMPOSED, regions=((2, 2),))
        trace = [{"raw_msg": "f", **at("/a.nix", 4, 5)}]
        (fault,) = parse(error("x", trace=trace, **at(COMPOSED, 1, 3)), sources=sources).faults
        assert (fault.file, fault.line, fault.column, fault.placed) == ("/a.nix", 4, 5, True)
        (fault,) = parse(error("x", **at(COMPOSED, 1, 3)), sources=sources).faults
        assert (fault.file, fault.line, fault.column, fault.placed) == (None, None, None, True)

    def test_its_own_position_comes_before_the_frames(self) -> None:
        (fault,) = parse(error("x", trace=[{"raw_msg": "f", **at("/b", 4, 5)}], **at("/a", 1, 2))).faults
        assert (fault.file, fault.line, fault.column) == ("/a", 1, 2)

    def test_a_hundred_frames_are_kept(self) -> None:
        frames = [{"raw_msg": str(number)} for number in range(101)]
        (fault,) = parse(error("x", trace=frames)).faults
        assert [frame.message for frame in fault.trace] == [str(number) for number in range(100)]
        (fault,) = parse(error("x", trace=None)).faults
        assert fault.trace == ()


def started(number: int, *fields: Any, kind: int = 105, action: str = "start") -> str:
    return event(action=action, id=number, type=kind, fields=list(fields))


def line(number: int, *fields: Any, kind: int = 101, action: str = "result") -> str:
    return event(action=action, id=number, type=kind, fields=list(fields))


class TestLogs:
    def test_lines_are_of_the_build_that_has_their_number(self) -> None:
        found = parse(
            started(1, "/a.drv"),
            started(2, "/b.drv"),
            line(2, "\x1b[1mb1"),
            line(1, "a1"),
            line(2, "b2"),
            line(3, "whose"),
        )
        assert {drv: list(lines) for drv, lines in found.logs.items()} == {
            "/b.drv": ["b1", "b2"],
            "/a.drv": ["a1"],
            "": ["whose"],
        }
        assert found.text == ""

    def test_other_activities_are_none(self) -> None:
        found = parse(
            started(1, "/a.drv", kind=104),
            started(2, "/b.drv", action="stop"),
            started(3),
            event(action="start", id=4, type=105, fields="/c.drv"),
            line(1, "no", kind=100),
            line(1, "no", action="start"),
            line(1),
        )
        assert found.logs == {}

    def test_an_activity_without_a_number_has_the_number_zero(self) -> None:
        found = parse(event(action="start", type=105, fields=["/a.drv"]), line(0, "x"))
        assert {drv: list(lines) for drv, lines in found.logs.items()} == {"/a.drv": ["x"]}

    def test_the_last_fifty_lines_are_kept(self) -> None:
        found = parse(started(1, "/a.drv"), *(line(1, number) for number in range(51)))
        assert list(found.logs["/a.drv"]) == [str(number) for number in range(1, 51)]


class TestFollower:
    def follow(self, *lines: str) -> list[BuildEvent]:
        heard: list[BuildEvent] = []
        follower = Follower(heard.append)
        follower.feed(("\n".join(lines) + "\n").encode())
        return heard

    def test_a_line_counts_once_it_ends(self) -> None:
        heard: list[BuildEvent] = []
        follower = Follower(heard.append)
        follower.feed(started(1, "/a.drv").encode())
        assert heard == []
        follower.feed(b"\n")
        assert heard == [BuildEvent(drv="/a.drv")]

    @pytest.mark.parametrize(
        ("fields", "machine"),
        [(["/a"], ""), (["/a", ""], ""), (["/a", "local"], ""), (["/a", "ssh://b", 1, 1], "ssh://b")],
    )
    def test_the_machine_is_named_where_it_is_another(self, fields: list[Any], machine: str) -> None:
        heard = self.follow(started(1, *fields), line(1, "x"))
        assert heard == [
            BuildEvent(drv="/a", machine=machine),
            BuildEvent(drv="/a", line="x", machine=machine),
        ]

    def test_what_is_no_build_is_not_reported(self) -> None:
        assert (
            self.follow(
                "text",
                started(1, "/a", kind=104),
                started(1, "/a", action="stop"),
                started(1),
                event(action="start", type=105),
                line(1, "x", kind=102),
                line(1, "x", action="msg"),
            )
            == []
        )

    def test_without_a_number(self) -> None:
        heard = self.follow(
            event(action="start", type=105, fields=["/a"]), event(action="result", type=101, fields=["x"])
        )
        assert heard == [BuildEvent(drv="/a"), BuildEvent(drv="/a", line="x")]

    def count(self, *lines: str) -> list[BuildProgress]:
        heard: list[BuildProgress] = []
        events: list[BuildEvent] = []
        follower = Follower(events.append, progress=heard.append)
        follower.feed("".join(f"{each}\n" for each in lines).encode())
        assert events == []
        return heard

    def test_builds_and_copies_are_counted_where_their_numbers_change(self) -> None:
        assert self.count(
            event(action="start", id=1, type=104),
            event(action="start", id=2, type=103),
            event(action="result", id=1, type=105, fields=[0, 4, 0, 0]),
            event(action="result", id=1, type=105, fields=[0, 4, 1, 0]),
            event(action="result", id=2, type=105, fields=[2, 7, 0, 0]),
            event(action="result", id=1, type=105, fields=[1, 4, 0, 0]),
        ) == [
            BuildProgress(to_build=4),
            BuildProgress(to_build=4, copied=2, to_copy=7),
            BuildProgress(built=1, to_build=4, copied=2, to_copy=7),
        ]

    @pytest.mark.parametrize("fields", [[], [1], ["1", 2], [1, None], "12"])
    def test_numbers_that_are_none_are_passed_over(self, fields: object) -> None:
        begun = event(action="start", id=1, type=104)
        assert self.count(begun, event(action="result", id=1, type=105, fields=fields)) == []

    def test_the_numbers_of_another_activity_are_not_counted(self) -> None:
        others = [event(action="start", id=number, type=kind) for number, kind in ((1, 100), (2, 102))]
        assert self.count(*others, event(action="result", id=1, type=105, fields=[1, 2])) == []
        assert self.count(event(action="result", type=105, fields=[1, 2])) == []

    def test_what_is_not_utf8_is_replaced(self) -> None:
        heard: list[BuildEvent] = []
        Follower(heard.append).feed(b'@nix {"action":"result","type":101,"fields":["\xff"]}\n')
        assert [each.line for each in heard] == ["\ufffd"]


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("\x1b[31;1mred\x1b[0m", "red"),
        ("\x1b]8;;http://x\x07link\x1b]8;;\x07", "link"),
        ("\x1b[2Kx\x1b[?25l", "x"),
        ("a\x1b(b", "ab"),
        ("[31m", "[31m"),
    ],
)
def test_control_sequences_are_taken_out(text: str, plain: str) -> None:
    assert strip_ansi(text) == plain


@pytest.mark.parametrize(
    ("text", "level", "kind", "said"),
    [
        ("trace: hello", 0, "trace", "hello"),
        ("trace: a\nb", 0, "trace", "a\nb"),
        ("warning: old", 1, "warning", "old"),
        ("evaluation warning: careful", 0, "warning", "careful"),
        # lib.warn on a nix without builtins.warn.
        (f"trace: {MAGENTA}evaluation warning: careful\x1b[0m", 0, "warning", "careful"),
        ("trace: it is no warning: at all", 0, "trace", "it is no warning: at all"),
    ],
)
def test_what_the_code_itself_printed(text: str, level: int, kind: str, said: str) -> None:
    diagnostics = parse(event(action="msg", level=level, msg=text), error("no"))
    assert [(message.kind.value, message.text) for message in diagnostics.said] == [(kind, said)]

"""Builds that are followed while they run: what is heard, when, and how the one who listens ends them."""

from __future__ import annotations

import dataclasses
import json
import os
import threading
import uuid
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pynix_eval_shim as shim
from pynix_eval_shim import BuildEvent, Nix, build
from pynix_eval_shim.messages import Follower

if TYPE_CHECKING:
    from pathlib import Path

# Waits for somebody to write to the pipe `go`: a listener proves so that it heard the first line before.
WAITS = """{ system, go }: derivation {
  name = "waits"; inherit system go; builder = "/bin/sh";
  args = [ "-c" "echo one; read _ < $go; echo two; echo > $out" ];
}"""


def start(drv: str, number: int, machine: str = "") -> bytes:
    event = {"action": "start", "id": number, "level": 3, "type": 105, "fields": [drv, machine, 1, 1]}
    return b"@nix " + json.dumps(event).encode() + b"\n"


def line(text: str, number: int) -> bytes:
    event = {"action": "result", "id": number, "type": 101, "fields": [text]}
    return b"@nix " + json.dumps(event).encode() + b"\n"


@given(
    st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"])), max_size=5), st.integers(1, 40)
)
def test_any_cut_of_the_stream_tells_the_same(texts: list[str], length: int) -> None:
    stream = b"plain\n" + start("/a.drv", 1, "ssh://far") + b"".join(line(text, 1) for text in texts)
    heard: list[BuildEvent] = []
    follower = Follower(heard.append)
    for begin in range(0, len(stream), length):
        follower.feed(stream[begin : begin + length])
    began, *lines = heard
    assert began == BuildEvent(drv="/a.drv", machine="ssh://far")
    assert [(event.drv, event.line, event.machine) for event in lines] == [
        ("/a.drv", text, "ssh://far") for text in texts
    ]


def test_lines_of_several_builds_and_without_colour() -> None:
    heard: list[BuildEvent] = []
    follower = Follower(heard.append)
    follower.feed(start("/a.drv", 1) + start("/b.drv", 2, "local"))
    follower.feed(line("\x1b[1mb\x1b[0m", 2) + line("a", 1))
    follower.feed(b"@nix {broken\n@nix []\n" + line("nobody's", 9))
    assert [(event.drv, event.line) for event in heard] == [
        ("/a.drv", None),
        ("/b.drv", None),
        ("/b.drv", "b"),
        ("/a.drv", "a"),
        ("", "nobody's"),
    ]
    assert {event.machine for event in heard} == {""}


@pytest.mark.parametrize(("setting", "expected"), [("", False), ("ssh://far", True), ("@{}", True)])
def test_remote_builders_are_known(nix: Nix, tmp_path: Path, setting: str, expected: bool) -> None:
    (tmp_path / "machines").write_text("# a remark\n\nssh://far x86_64-linux\n")
    options = {**nix.options, "builders": setting.format(tmp_path / "machines")}
    probed = shim.probe(nix=Nix(program=nix.program, options=options, offline=True))
    assert probed.remote_builders is expected
    options["builders"] = f"@{tmp_path}/none"
    assert not shim.probe(nix=Nix(program=nix.program, options=options, offline=True)).remote_builders


@pytest.fixture
def go(tmp_path: Path) -> Path:
    """A pipe that the builder waits for."""
    os.mkfifo(tmp_path / "go")
    return tmp_path / "go"


@pytest.fixture
def open_store(private_store: Nix) -> Nix:
    """The private store, building where a pipe of the test's can be seen."""
    return dataclasses.replace(private_store, options={**private_store.options, "sandbox": "false"})


@pytest.mark.nix
class TestFollowedBuilds:
    def test_lines_are_heard_while_the_builder_runs(self, open_store: Nix, go: Path) -> None:
        heard: list[BuildEvent] = []

        def hear(event: BuildEvent) -> None:
            heard.append(event)
            if event.line == "one":
                go.write_text("\n")

        data = {"system": shim.probe(nix=open_store).system, "go": str(go)}
        (built,) = build(WAITS, data=data, on_event=hear, nix=open_store)
        assert [(event.drv, event.line) for event in heard] == [
            (built.drv, None),
            (built.drv, "one"),
            (built.drv, "two"),
        ]

    def test_a_build_is_stopped_from_another_thread(self, open_store: Nix, go: Path) -> None:
        stop = threading.Event()
        data = {"system": shim.probe(nix=open_store).system, "go": str(go)}
        with pytest.raises(shim.StoppedError):
            build(WAITS, data=data, on_event=lambda event: stop.set(), stop=stop, nix=open_store)

    def test_what_a_listener_raises_ends_the_build(self, open_store: Nix, go: Path) -> None:
        word = str(uuid.uuid4())

        def reject(event: BuildEvent) -> None:
            raise LookupError(word)

        data = {"system": shim.probe(nix=open_store).system, "go": str(go)}
        with pytest.raises(LookupError, match=word):
            build(WAITS, data=data, on_event=reject, nix=open_store)

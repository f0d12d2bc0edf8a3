"""Which question is for whom, and a channel's pointer as its publisher signed it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from multidict import CIMultiDict, MultiDict

from ectools.netboot.depot.channel import ChannelPointer
from ectools.netboot.http.handler import RequestInfo
from ectools.netboot.http.webroot import RejectedError
from ectools.netboot.release.channels import note_pointer, note_staged
from ectools.netboot.release.store import ReleaseStore
from ectools.netboot.server.node_questions import NodeQuestions

POINTER = ChannelPointer(
    channel="stable", counter=5, tag="boot-v1", sums="0" * 64, moved_at=1, envelope=b"as it was signed\n"
)


def ask(*segments: bytes) -> RequestInfo:
    return RequestInfo(
        peer="192.0.2.1", method="GET", segments=segments, query=MultiDict(), headers=CIMultiDict()
    )


def find(questions: NodeQuestions, *segments: bytes) -> bytes | None:
    return asyncio.run(questions.find_pointer(ask(*segments)))


def test_a_pointer_is_served_once_its_release_is_staged(tmp_path: Path) -> None:
    store = ReleaseStore(tmp_path)
    questions = NodeQuestions(store, None)
    with store.lock():
        note_pointer(store, POINTER, where="it")
    assert find(questions, b"channels", b"stable") is None
    with store.lock():
        note_staged(store, POINTER, "sha256-" + "0" * 32)
    assert find(questions, b"channels", b"stable") == POINTER.envelope
    for segments in ((b"channels",), (b"channels", b"other"), (b"channels", b"..", b"stable"), (b"stable",)):
        assert find(questions, *segments) is None
    for name in (b".stable.pointer", b"..", b"stable/../stable", b"\xff"):
        assert find(questions, b"channels", name) is None


def test_another_pointer_to_the_same_release_takes_its_place(tmp_path: Path) -> None:
    store, later = ReleaseStore(tmp_path), ChannelPointer(**{**vars(POINTER), "counter": 6, "envelope": b"x"})
    with store.lock():
        for pointer in (POINTER, later):
            note_pointer(store, pointer, where="it")
            note_staged(store, pointer, "sha256-" + "0" * 32)
        # One that was overtaken meanwhile.
        note_staged(store, POINTER, "sha256-" + "1" * 32)
    assert find(NodeQuestions(store, None), b"channels", b"stable") == b"x"


def test_a_pointer_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    store = ReleaseStore(tmp_path)
    (store.channels_dir / ".stable.pointer").mkdir(parents=True)
    with pytest.raises(RejectedError):
        find(NodeQuestions(store, None), b"channels", b"stable")


def test_nobody_is_asked_where_there_is_no_fleet(tmp_path: Path) -> None:
    questions = NodeQuestions(ReleaseStore(tmp_path), None)
    policy = object()
    assert asyncio.run(questions.answer(ask(b"next"), policy)) is None  # type: ignore[arg-type]

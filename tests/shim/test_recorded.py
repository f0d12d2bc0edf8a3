"""What versions of nix said, replayed: recordings of real processes, and the words of versions not here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from failure_cases import CASES, Case, check

import pynix_eval_shim as shim
from pynix_eval_shim import diagnosis, messages
from pynix_eval_shim.process import Finished
from pynix_eval_shim.source import PositionMap

RECORDED = Path(__file__).parent / "recorded"
RECORDINGS = {path.stem: json.loads(path.read_text()) for path in sorted(RECORDED.glob("nix-*.json"))}
SAMPLES: list[dict[str, Any]] = json.loads((RECORDED / "wordings.json").read_text())["samples"]
# Plain text carries no trace, and is read by the line.
PLAIN = [
    each for each in SAMPLES if not each["trace"] and not each.get("placed") and "\n" not in each["message"]
]
PLACE = {"file": "/a/file.nix:1:1", "line": 1, "column": 1}


def diagnose(stderr: str, sources: PositionMap, *, returncode: int, names_builtins: bool) -> shim.NixError:
    finished = Finished(argv=("nix",), returncode=returncode, stdout=b"", stderr=stderr.encode())
    diagnostics = messages.parse_messages(finished.stderr, sources)
    return diagnosis.diagnose(finished, diagnostics, names_builtins=lambda: names_builtins)


def test_the_oldest_version_and_a_current_one_are_recorded() -> None:
    assert "nix-2.8.0" in RECORDINGS
    assert len(RECORDINGS) > 1


@pytest.mark.parametrize("version", RECORDINGS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_recording(version: str, case: Case) -> None:
    recording = RECORDINGS[version]["recordings"][case.name]
    known = recording["sources"]
    sources = PositionMap(
        label=known["label"],
        composed=known["composed"],
        regions=tuple((first, last) for first, last in known["regions"]),
        strings=frozenset(known["strings"]),
    )
    error = diagnose(
        "\n".join(recording["stderr"]),
        sources,
        returncode=recording["returncode"],
        names_builtins=version != "nix-2.8.0",
    )
    check(case, error)
    assert len(error.trace) <= 100
    assert "«composed»" not in str(error)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: f"{sample['error']}-{sample['source']}")
def test_words_of_other_versions(sample: dict[str, Any]) -> None:
    event = {
        "action": "msg",
        "level": 0,
        "msg": f"error: {sample['message']}",
        "raw_msg": sample["message"],
        "trace": [{"raw_msg": frame} for frame in sample["trace"]],
        **(PLACE if sample.get("placed") else {}),
    }
    error = diagnose("@nix " + json.dumps(event), PositionMap(), returncode=1, names_builtins=True)
    assert type(error).__name__ == sample["error"]
    assert error.message == sample["message"]
    for name, value in sample.get("fields", {}).items():
        found = getattr(error, name)
        assert (sorted(found) if isinstance(found, frozenset) else found) == value


@pytest.mark.parametrize("sample", PLAIN, ids=lambda sample: f"{sample['error']}-{sample['source']}")
def test_words_as_plain_text(sample: dict[str, Any]) -> None:
    error = diagnose(f"error: {sample['message']}\n", PositionMap(), returncode=1, names_builtins=True)
    assert type(error).__name__ == sample["error"]
    assert error.message == sample["message"]


def error_event(message: str, **more: Any) -> str:
    return "@nix " + json.dumps(
        {"action": "msg", "level": 0, "msg": f"error: {message}", "raw_msg": message, **more}
    )


def test_the_cause_of_a_failed_build_comes_before_what_it_pulled_down() -> None:
    lines = [
        '@nix {"action":"start","id":7,"type":105,"fields":["/nix/store/a.drv","",1,1]}',
        '@nix {"action":"result","id":7,"type":101,"fields":["the reason"]}',
        error_event("builder for '/nix/store/a.drv' failed with exit code 2"),
        error_event("1 dependencies of derivation '/nix/store/b.drv' failed to build"),
    ]
    error = diagnose("\n".join(lines), PositionMap(), returncode=1, names_builtins=True)
    assert isinstance(error, shim.BuildFailedError)
    assert (error.drv, error.log) == ("/nix/store/a.drv", ("the reason",))


def test_lines_that_are_not_nixs_do_no_harm() -> None:
    lines = [
        "@nix not json",
        "@nix []",
        "@nix {}",
        '@nix {"action":"result","fields":[]}',
        "",
        error_event("boom"),
    ]
    assert diagnose("\n".join(lines), PositionMap(), returncode=1, names_builtins=True).message == "boom"

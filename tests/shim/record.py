"""Record what a nix says to each case: `python tests/shim/record.py [NIX]` writes recorded/nix-VERSION.json.

A recording is what came back from the process, and what the shim knew of the text it had sent, so that
replaying it needs no nix. The shim's own text and the checkout's path, which differ from run to run, are
replaced by names, and a trace of thousands of frames is cut.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from failure_cases import CASES, FLAKE, Case

import pynix_eval_shim as shim
from pynix_eval_shim import invocation, messages, process
from pynix_eval_shim.source import PositionMap

RECORDED = Path(__file__).parent / "recorded"
COMPOSED = "«composed»\n"
FRAMES, CHARACTERS = 110, 2000


def record(case: Case, nix: shim.Nix) -> dict[str, Any]:
    """Run one case and return what is to be kept of it."""
    kept: dict[str, Any] = {}
    real_run, real_parse = process.run_nix, messages.parse_messages

    def run(*arguments: Any, **options: Any) -> process.Finished:
        kept["finished"] = real_run(*arguments, **options)
        return kept["finished"]

    def parse(stderr: bytes, sources: PositionMap) -> messages.Diagnostics:
        kept["sources"] = sources
        return real_parse(stderr, sources)

    process.run_nix, messages.parse_messages = run, parse
    try:
        getattr(shim, case.call)(**case.arguments, nix=nix)
    except shim.NixError:
        pass
    else:
        sys.exit(f"{case.name}: did not fail")
    finally:
        process.run_nix, messages.parse_messages = real_run, real_parse
    finished, sources = kept["finished"], kept["sources"]
    return {
        "kind": f"{Path(finished.argv[0]).name} {finished.argv[1]}",
        "returncode": finished.returncode,
        "stdout": finished.stdout.decode(),
        "stderr": [_shorten(line, sources) for line in finished.stderr.decode().splitlines()],
        "sources": {
            "label": sources.label,
            "composed": COMPOSED if sources.composed else "",
            "regions": [list(region) for region in sources.regions],
            "strings": sorted(sources.strings, key=len) if len("".join(sources.strings)) < CHARACTERS else [],
        },
    }


def _shorten(line: str, sources: PositionMap) -> str:
    line = line.replace(str(FLAKE), "/flake")
    if not line.startswith("@nix "):
        return line
    event = json.loads(line.removeprefix("@nix "))
    for item in (event, *event.get("trace", ())):
        if sources.composed and item.get("file") == sources.composed:
            item["file"] = COMPOSED
    if "trace" in event:
        event["trace"] = event["trace"][:FRAMES]
    for name in ("msg", "text"):
        if name in event and len(event[name]) > CHARACTERS:
            event[name] = event[name][:CHARACTERS]
    return "@nix " + json.dumps(event, ensure_ascii=False)


def main() -> None:
    program = sys.argv[1] if len(sys.argv) > 1 else "nix"
    options = {"sandbox": "false"} if os.geteuid() == 0 else {}
    nix = shim.Nix(program=program, options=options, offline=True)
    line, _ = invocation.read_version(nix)
    recordings = {}
    for case in CASES:
        with tempfile.TemporaryDirectory() as directory:
            store = f"local?store={directory}/store&state={directory}/state&log={directory}/log"
            builds = case.call in ("build", "flake_check")
            fresh = shim.Nix(program=program, options=options, offline=True, store=store if builds else None)
            recordings[case.name] = record(case, fresh)
    target = RECORDED / f"nix-{line.rpartition(' ')[2]}.json"
    target.write_text(
        json.dumps({"version": line, "recordings": recordings}, indent=1, ensure_ascii=False) + "\n"
    )
    print(f"{target}: {len(recordings)} recordings")


if __name__ == "__main__":
    main()

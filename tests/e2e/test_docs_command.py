"""``ectools docs`` as a program, where there is no Nix."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from support.sample_options import make_schema, write_redirects, write_schema

from ectools.cli.docs import FORMATS
from ectools.docs import DocFormat

if TYPE_CHECKING:
    from pathlib import Path


def run(*arguments: str | Path, status: int = 0) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "ectools.cli.main", "docs", *map(str, arguments)]
    env = {**os.environ, "PATH": "/nowhere"}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == status, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done


def test_the_command_has_the_formats_that_there_are() -> None:
    assert tuple(FORMATS) == tuple(DocFormat)


def test_all_formats_at_once_and_checked(tmp_path: Path) -> None:
    schema = write_schema(tmp_path)
    formats = [argument for name in FORMATS for argument in ("--format", name)]
    options = [*formats, "--schema", schema, "--redirects", write_redirects(tmp_path)]
    done = run(*options, "-o", tmp_path / "out")
    names = {line.rpartition("/")[2] for line in done.stdout.splitlines()}
    assert names == {path.name for path in (tmp_path / "out").iterdir()}
    assert {"demo.md", "demo.html", "ectools-options.5", "options.json", "reference.json"} <= names
    assert run(*options, "--check", tmp_path / "out").stdout == ""
    (tmp_path / "out" / "demo.html").write_text("x")
    stale = run(*options, "--check", tmp_path / "out", status=1)
    assert stale.stdout == f"{tmp_path}/out/demo.html: is not what would be written\n"


def test_json_alone_is_also_where_it_was(tmp_path: Path) -> None:
    run("--format", "json", "--schema", write_schema(tmp_path), "-o", tmp_path / "out")
    files = {path.name: path.read_text() for path in (tmp_path / "out").iterdir()}
    assert set(files) == {"options.json", "reference.json"}
    assert files["options.json"] == files["reference.json"]


def test_of_all_of_this_project(tmp_path: Path) -> None:
    for kind in FORMATS:
        run("--format", kind, "-o", tmp_path / kind)
        run("--format", kind, "--check", tmp_path / kind)


def test_what_is_refused(tmp_path: Path) -> None:
    schema = make_schema()
    del schema["properties"]["port"]["description"]
    (tmp_path / "bare.json").write_text(json.dumps(schema))
    bare = run("--schema", tmp_path / "bare.json", "-o", tmp_path / "out", status=1)
    assert "services.demo.port" in bare.stderr
    assert not (tmp_path / "out").exists()
    run("--schema", tmp_path / "bare.json", "-o", tmp_path / "out", "--allow-undocumented")

    lost = write_redirects(tmp_path, {"services.demo.old": "services.demo.none"})
    done = run("--schema", write_schema(tmp_path), "--redirects", lost, "-o", tmp_path, status=2)
    assert "services.demo.old: leads to services.demo.none" in done.stderr
    assert "{path}" in run("--source-url", "https://example.org", "-o", tmp_path, status=2).stderr
    assert "-o DIRECTORY" in run(status=2).stderr
    run("--schema", "none", "-o", tmp_path, status=2)
    (tmp_path / "odd.json").write_text('{"properties": 1}')
    assert (
        "/properties is not of the right kind"
        in run("--schema", tmp_path / "odd.json", "-o", "x", status=2).stderr
    )


def test_changelog(tmp_path: Path) -> None:
    old = write_schema(tmp_path)
    schema = make_schema()
    del schema["properties"]["ratio"]
    new = tmp_path / "new.schema.json"
    new.write_text(json.dumps(schema))
    assert run("changelog", old, new).stdout == "### Breaking\n\n- `services.demo.ratio`: it is gone\n"
    assert run("changelog", old, old).stdout == "No option differs.\n"
    run("changelog", old, tmp_path / "none", status=2)

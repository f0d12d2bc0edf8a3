"""``ectools validate``, ``generate`` and ``init`` as programs: their output and their exit status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "host"


def ectools(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ectools.cli.main", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )


def test_validate_says_that_all_is_well() -> None:
    done = ectools("validate", *(EXAMPLES / name for name in ("host.toml", "host.yaml", "host.json")))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "3 files, 0 problems\n")


def test_validate_prints_every_problem_and_exits_1() -> None:
    files = sorted((EXAMPLES / "broken").iterdir())
    done = ectools("validate", *files)
    assert done.returncode == 1
    for file in files:
        assert f"\n{file}:" in f"\n{done.stdout}"
    where = EXAMPLES / "broken" / "wrong-values.yaml"
    assert f"{where}:6:7: services.every-channel.ipxe-qemu.vcpu: there is no such option" in done.stdout
    assert f"{where}:10:17: services.every-channel.ipxe-qemu.boot.http.port: is 80800" in done.stdout
    assert done.stderr.startswith(f"{len(files)} files, ")


def test_validate_exits_2_where_a_file_cannot_be_read_and_still_checks_the_others(tmp_path: Path) -> None:
    done = ectools("validate", tmp_path / "none.toml", EXAMPLES / "broken" / "norway.yaml")
    assert done.returncode == 2
    assert "norway.yaml:5:15: services.every-channel.ipxe-qemu.enable" in done.stdout
    assert "none.toml: cannot be read: No such file or directory" in done.stderr
    assert "Traceback" not in done.stderr


def test_validate_as_json() -> None:
    done = ectools("validate", "--json", EXAMPLES / "broken" / "twice.toml")
    (problem,) = json.loads(done.stdout)
    assert done.returncode == 1
    assert (problem["line"], problem["column"], problem["kind"]) == (7, 25, "syntax")
    assert ectools("validate", "--json", EXAMPLES / "host.toml").stdout == "[]\n"


def test_validate_as_sarif() -> None:
    done = ectools("validate", "--sarif", EXAMPLES / "broken" / "wrong-values.yaml")
    assert len(json.loads(done.stdout)["runs"][0]["results"]) == 6
    assert ectools("validate", "--sarif", "--json", EXAMPLES / "host.toml").returncode == 2


def test_validate_against_another_schema(tmp_path: Path) -> None:
    schema, file = tmp_path / "s.schema.json", tmp_path / "x.yaml"
    schema.write_text(
        '{"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": false}'
    )
    file.write_text("a: x\nb: 1\n")
    done = ectools("validate", "--schema", schema, file)
    assert done.returncode == 1
    assert [line.split(": ")[0] for line in done.stdout.splitlines() if line.startswith("/")] == [
        f"{file}:1:4",
        f"{file}:2:1",
    ]
    assert ectools("validate", "--schema", "nothing-of-this-name", file).returncode == 2


def test_generate_prints_the_module() -> None:
    done = ectools("generate", EXAMPLES / "host.toml")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (GOLDEN / "example.nix").read_text()


def test_generate_refuses_an_invalid_description(tmp_path: Path) -> None:
    out = tmp_path / "host.nix"
    done = ectools("generate", EXAMPLES / "broken" / "wrong-values.yaml", "-o", out)
    assert done.returncode == 2
    assert "not a valid host description" in done.stderr
    assert "wrong-values.yaml:6:7" in done.stderr
    assert not out.exists()


def test_generate_check_fails_where_the_module_is_stale(tmp_path: Path) -> None:
    out = tmp_path / "host.nix"
    missing = ectools("generate", EXAMPLES / "host.toml", "-o", out, "--check")
    assert (missing.returncode, out.exists()) == (1, False)
    assert "missing" in missing.stderr
    assert ectools("generate", EXAMPLES / "host.toml", "-o", out).returncode == 0
    assert ectools("generate", EXAMPLES / "host.toml", "-o", out, "--check").returncode == 0
    out.write_text(out.read_text().replace("8081", "8082"))
    stale = ectools("generate", EXAMPLES / "host.toml", "-o", out, "--check")
    assert stale.returncode == 1
    assert "-        port = 8082;\n+        port = 8081;" in stale.stderr
    assert "8082" in out.read_text(), "--check writes nothing"
    assert ectools("generate", EXAMPLES / "host.toml", "--check").returncode == 2


@pytest.mark.parametrize(
    ("name", "text", "expression"),
    [
        (
            "x.json",
            '{"a": [1, -2.5, null], "b c": "${x}"}',
            '{\n  a = [\n    1\n    (-2.5)\n    null\n  ];\n  "b c" = "\\${x}";\n}\n',
        ),
        ("x.json", "-1", "-1\n"),
        ("x.yaml", "- a\n- b", '[\n  "a"\n  "b"\n]\n'),
        ("x.toml", "a = 1", "{ a = 1; }\n"),
    ],
)
def test_generate_value(name: str, text: str, expression: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    done = ectools("generate", "--value", tmp_path / name)
    assert (done.returncode, done.stdout) == (0, expression)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": ["x\\u0000"]}', "a[0]: the string holds a NUL"),
        ('{"a": 18446744073709551616}', "a: the integer 18446744073709551616 is out of Nix's range"),
        ('{"a": 1, "a": 2}', "x.json:1:10: a: the key 'a' stands twice"),
        ('{"a": NaN}', "x.json:1:7: a: NaN is not JSON"),
    ],
)
def test_generate_value_refuses(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(text)
    done = ectools("generate", "--value", tmp_path / "x.json")
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stdout == ""


def test_init_writes_a_valid_description_once(tmp_path: Path) -> None:
    out = tmp_path / "host.toml"
    assert ectools("init", "--schema", "ec-ipxe-qemu", "-o", out).returncode == 0
    assert ectools("validate", out).returncode == 0
    again = ectools("init", "-o", out)
    assert again.returncode == 2
    assert "exists" in again.stderr
    assert ectools("init", "-o", out, "--force").returncode == 0
    assert ectools("init").stdout == out.read_text()

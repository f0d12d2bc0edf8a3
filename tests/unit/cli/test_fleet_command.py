"""``ectools fleet``: what it prints, and with which status it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.staged import make_systems, put_release

from ectools.cli.fleet import COMMAND
from ectools.netboot.kernel import KernelArchitecture

if TYPE_CHECKING:
    from conftest import Program

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
FLEET, NEXT = EXAMPLES / "fleet.toml", EXAMPLES / "fleet-next.toml"


def test_check(program: Program, tmp_path: Path) -> None:
    assert program(COMMAND, "check", FLEET)[:2] == (0, f"{FLEET}: 2 groups, 3 nodes\n")
    wrong, missing = tmp_path / "wrong.toml", tmp_path / "missing.toml"
    wrong.write_text("[nodes.n]\nhold = true\n")
    status, out, err = program(COMMAND, "check", "--json", FLEET, wrong, missing)
    good, bad, absent = json.loads(out)
    assert (status, good) == (2, {"file": str(FLEET), "groups": 2, "nodes": 3, "warnings": []})
    says = f"{wrong}:1:8: fleet.nodes.n.match: says nothing that the machine is known by"
    assert says in err
    assert (bad["file"], bad["error"]) == (str(wrong), f"{wrong}: 1 problem in the fleet")
    assert bad["problems"][0].startswith(says)
    assert (absent["file"], absent["problems"]) == (str(missing), [])
    assert absent["error"].endswith("No such file or directory")
    assert program(COMMAND, "check", FLEET, wrong)[0] == 1


@pytest.mark.parametrize(("name", "text"), [("a.yaml", "nodes: ["), ("a.toml", "nodes = ["), ("a.json", "{")])
def test_a_file_with_an_error_of_syntax_has_a_problem_and_can_be_read(
    program: Program, tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / name).write_text(text)
    assert program(COMMAND, "check", tmp_path / name)[0] == 1


def test_check_warns_of_what_comes_to_nothing(program: Program, tmp_path: Path) -> None:
    file = tmp_path / "fleet.toml"
    file.write_text('[groups.g]\nbootBinary = "snponly"\n[nodes.n]\ngroup = "g"\nmatch.asset = "n"\n')
    status, out, err = program(COMMAND, "check", file)
    assert (status, out) == (0, f"{file}: 1 group, 1 node\n")
    option = "fleet.groups.g.bootBinary"
    undecided = f"{option} is decided by the hardware address alone, and n has no match.mac"
    assert err == f"{file}: warning: {undecided}\n"
    config = tmp_path / "netboot.json"
    config.write_text(json.dumps({"stateDir": str(tmp_path / "state")}))
    (found,) = json.loads(program(COMMAND, "check", "--json", "--config", config, file)[1])
    assert found["warnings"] == [undecided, "no release is staged; 1 node would wait"]
    release, files = make_systems({"pc": KernelArchitecture.X86_64})
    put_release(tmp_path / "state", release, files)
    assert "would wait" not in program(COMMAND, "check", "--config", config, file)[2]
    file.write_text('[groups.g]\nrelease = "boot-v9"\n[nodes.n]\ngroup = "g"\nmatch.asset = "n"\n')
    err = program(COMMAND, "check", "--config", config, file)[2]
    assert err == f"{file}: warning: fleet.groups.g.release: boot-v9 is not staged; 1 node would wait\n"


def test_show(program: Program) -> None:
    status, out, _ = program(COMMAND, "show", "nuc-07", "--fleet", FLEET)
    assert status == 0
    assert "match            mac 02:00:00:12:34:56\n" in out
    assert "system           ec-runner-x86_64-netboot   (groups.runners.system)\n" in out
    assert "release          the current one\n" in out
    assert "healthyWithin    600   (groups.runners.healthyWithin)\n" in out
    assert "healthUnits      boot-complete.target alone\n" in out
    status, out, _ = program(COMMAND, "show", "nuc-09", "--fleet", NEXT, "--json")
    found = json.loads(out)
    assert (found["boot"], found["origins"]["boot"]) == ("hold", "nodes.nuc-09.hold")
    assert found["match"] == ["uuid 6f1c2d3e-0000-4000-8000-020000123456"]


def test_show_finds_the_fleet_of_the_settings_or_of_the_directory(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "netboot.json"
    config.write_text(json.dumps({"listenIP": "192.0.2.10", "fleet": {"file": str(FLEET)}}))
    assert program(COMMAND, "show", "studio", "--config", config)[0] == 0
    monkeypatch.chdir(tmp_path)
    status, _, err = program(COMMAND, "show", "studio")
    assert (status, "there is no fleet.toml here" in err) == (2, True)
    (tmp_path / "fleet.toml").write_bytes(FLEET.read_bytes())
    status, _, err = program(COMMAND, "show", "studio")
    told = "no boot server was asked: the fleet is that of this directory: fleet.toml\n"
    assert (status, err) == (0, told)
    status, _, err = program(COMMAND, "show", "nuc-7")
    assert (status, "did you mean nuc-07?" in err) == (2, True)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--fleet", "a", "--config", "b"), "--fleet and --config exclude each other"),
        (("--fleet", "a", "--socket", "c"), "--fleet and --socket exclude each other"),
        (("--config", "b", "--socket", "c"), "--config and --socket exclude each other"),
    ],
)
def test_one_fleet_is_shown_and_not_two(program: Program, options: tuple[str, ...], told: str) -> None:
    status, out, err = program(COMMAND, "show", "nuc-07", *options)
    assert (status, out, told in err) == (2, "", True)


def test_diff(program: Program) -> None:
    status, out, err = program(COMMAND, "diff", FLEET, NEXT)
    assert (status, err) == (0, "4 changes\n")
    assert "~ (unknown machines)\n    boot: network → hold\n" in out
    assert "- nuc-08\n" in out
    assert "+ nuc-09\n" in out
    assert "~ studio\n    release: the current one → boot-v2026.03.02\n" in out
    assert program(COMMAND, "diff", FLEET, FLEET)[1:] == ("", "0 changes\n")
    changes = {each["node"]: each for each in json.loads(program(COMMAND, "diff", FLEET, NEXT, "--json")[1])}
    assert changes["nuc-08"]["kind"] == "removed"
    assert changes["nuc-09"]["won"] == ["uuid 6f1c2d3e-0000-4000-8000-020000123456"]
    assert changes["studio"]["values"] == {"release": [None, "boot-v2026.03.02"]}

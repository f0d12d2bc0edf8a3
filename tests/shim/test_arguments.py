"""What nix is asked where it evaluates, and what is made of its answer; the process is a fake."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from support.fake_nix import SETTINGS, STORE, FakeProcess, error_event

import pynix_eval_shim as shim
from pynix_eval_shim import BUILD_LIMITS, Limits, Nix, invocation, process
from pynix_eval_shim.evaluation import EvaluationArguments, prepare_evaluation
from pynix_eval_shim.process import Finished


class TestFind:
    def test_neighbours_come_before_those_on_path(self, bin_directory: Path, tmp_path: Path) -> None:
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "nix-store").touch(mode=0o755)
        nix = Nix(program=str(bin_directory / "nix"), env={"PATH": str(tmp_path / "other")})
        assert nix.find("nix") == str(bin_directory / "nix")
        assert nix.find("nix-store") == str(bin_directory / "nix-store")
        (bin_directory / "nix-store").unlink()
        assert nix.find("nix-store") == str(tmp_path / "other" / "nix-store")
        (tmp_path / "other" / "nix-store").unlink()
        with pytest.raises(
            shim.NixMissingError, match=f"nix-store: .* neither beside {bin_directory}/nix nor on PATH"
        ):
            nix.find("nix-store")

    def test_a_link_keeps_its_own_neighbours(self, bin_directory: Path, tmp_path: Path) -> None:
        (tmp_path / "links").mkdir()
        (tmp_path / "links" / "nix").symlink_to(bin_directory / "nix")
        (tmp_path / "links" / "nix-store").touch(mode=0o755)
        nix = Nix(env={"PATH": str(tmp_path / "links")})
        assert nix.find("nix-store") == str(tmp_path / "links" / "nix-store")

    def test_path_is_that_of_the_calls_environment(
        self, bin_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", str(bin_directory))
        assert Nix().find("nix") == str(bin_directory / "nix")
        with pytest.raises(shim.NixMissingError, match="nix: program not found"):
            Nix(env={"PATH": str(tmp_path)}).find("nix")


class TestEnvironment:
    @pytest.mark.parametrize("given", [None, "sandbox = false"])
    def test_root_without_a_daemons_group_builds_as_itself(
        self, monkeypatch: pytest.MonkeyPatch, given: str | None
    ) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        monkeypatch.setattr(invocation, "_group_exists", lambda name: name != "nixbld")
        env = {"A": "b"} | ({} if given is None else {"NIX_CONFIG": given})
        # What the user says comes last, and wins.
        expected = {"A": "b", "NIX_CONFIG": f"build-users-group =\n{given or ''}"}
        assert Nix(env=env).environment() == expected
        assert "NIX_CONFIG" not in env or env["NIX_CONFIG"] == given

    @pytest.mark.parametrize(("user", "group"), [(0, True), (1000, False), (1000, True)])
    def test_others_and_a_root_with_one_get_what_was_given(
        self, monkeypatch: pytest.MonkeyPatch, user: int, group: bool
    ) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: user)
        monkeypatch.setattr(invocation, "_group_exists", lambda name: group)
        assert Nix(env={"A": "b"}).environment() == {"A": "b"}
        assert Nix(env={}).environment() == {}
        monkeypatch.setenv("SHIM_TEST", "here")
        assert Nix().environment()["SHIM_TEST"] == "here"

    def test_groups_are_those_of_the_machine(self) -> None:
        import grp

        assert invocation._group_exists(grp.getgrgid(os.getegid()).gr_name)
        assert not invocation._group_exists("no-such-group")


class TestSettings:
    def test_names_are_nixs(self) -> None:
        assert invocation.settings(Nix(), eval_cache="false", a_b_c="1") == [
            *SETTINGS,
            *("--option", "eval-cache", "false"),
            *("--option", "a-b-c", "1"),
        ]
        assert invocation.settings(Nix()) == SETTINGS

    def test_offline_asks_nobody_and_does_not_wait(self) -> None:
        arguments = invocation.settings(Nix(offline=True, options={"substitute": "true", "cores": "2"}))
        assert arguments[len(SETTINGS) :] == [
            *("--option", "substitute", "false"),
            *("--option", "cores", "2"),
            *("--option", "connect-timeout", "1"),
            *("--option", "download-attempts", "1"),
        ]


class TestVersion:
    @pytest.mark.parametrize(
        ("line", "numbers"),
        [
            ("nix (Nix) 2.8.0", (2, 8, 0)),
            ("nix (Nix) 3", (3,)),
            ("nix (Nix) 2.33pre1\nmore 9.9", (2, 33)),
        ],
    )
    def test_the_last_word_of_the_first_line(
        self, run: FakeProcess, fake: Nix, line: str, numbers: tuple[int, ...]
    ) -> None:
        run.answers = [(0, f"{line}\n", "")]
        assert invocation.read_version(fake) == (line.partition("\n")[0], numbers)
        assert run.argv == ["--version"]
        assert run.calls[0]["limits"] == Limits(seconds=60.0, output_bytes=65536)

    @pytest.mark.parametrize(("stdout", "stderr", "says"), [("x", "y", "x"), ("", " why not\n", "why not")])
    def test_what_tells_none(self, run: FakeProcess, fake: Nix, stdout: str, stderr: str, says: str) -> None:
        run.answers = [(1, stdout, stderr)]
        with pytest.raises(shim.NixMissingError, match=f"does not tell its version, but: {says}$"):
            invocation.read_version(fake)

    @pytest.mark.parametrize(
        ("version", "kind"),
        [
            ("2.12.9", shim.ThrownError),
            ("2.13", shim.UndefinedVariableError),
            ("2.13.0", shim.UndefinedVariableError),
        ],
    )
    def test_a_throw_has_a_frame_since_2_13(
        self, run: FakeProcess, fake: Nix, version: str, kind: type[shim.NixError]
    ) -> None:
        run.answers = [(1, "", error_event("undefined variable 'x'")), (0, f"nix (Nix) {version}\n", "")]
        with pytest.raises(shim.NixError) as caught:
            shim.evaluate("1", nix=fake)
        assert type(caught.value) is kind
        assert len(run.calls) == 2


class TestEvaluate:
    def test_an_expression(self, run: FakeProcess, fake: Nix, bin_directory: Path) -> None:
        run.answers = [(0, '{"a": [1]}', "")]
        assert shim.evaluate("x", nix=fake) == {"a": [1]}
        (call,) = run.calls
        assert call["argv"] == [
            str(bin_directory / "nix-instantiate"),
            *("--eval", "--strict", "--json", "--read-write-mode"),
            *STORE,
            *SETTINGS,
            *("--option", "allow-import-from-derivation", "false"),
            *("--option", "eval-cache", "false"),
            *("--option", "pure-eval", "true"),
            *("--arg", "expression", "x"),
            "-",
        ]
        assert call["stdin"].startswith(b"{ expression }: ((")
        assert call["stdin"].endswith(b" expression\n")
        assert call["limits"] == Limits()
        assert call["env"] == fake.environment()
        assert (call["cwd"], call["ask_seconds"], call["watch"]) == (None, 0.0, None)

    def test_data_and_apply(self, run: FakeProcess, fake: Nix) -> None:
        shim.evaluate("f", data={"a": 1}, apply="g", nix=fake)
        text = run.calls[0]["stdin"].decode()
        assert text.startswith("{ expression, apply }: ")
        assert text.endswith(' (apply (expression (builtins.fromJSON "{\\"a\\":1}")))\n')
        assert run.argv[-7:] == ["--arg", "expression", "f", "--arg", "apply", "g", "-"]

    def test_a_file_is_read_impurely(self, run: FakeProcess, fake: Nix, tmp_path: Path) -> None:
        shim.evaluate(file="a.nix", cwd=tmp_path, nix=fake)
        assert run.option("pure-eval") == "false"
        assert run.argv[-4:] == ["--argstr", "file", f"{tmp_path}/a.nix", "-"]
        assert run.calls[0]["stdin"].startswith(b"{ file }: ")
        assert run.calls[0]["stdin"].endswith(b" (import file)\n")
        assert run.calls[0]["cwd"] == tmp_path
        shim.evaluate(file="/b.nix", nix=fake)
        assert "/b.nix" in run.argv

    def test_names_in_brackets(self, run: FakeProcess, fake: Nix) -> None:
        shim.evaluate("x", impure=True, nix_path={"a": "/b", "c": "/d"}, nix=fake)
        assert run.option("pure-eval") == "false"
        at = run.argv.index("-I")
        assert run.argv[at : at + 4] == ["-I", "a=/b", "-I", "c=/d"]
        shim.evaluate(file="/x", nix_path={"a": "/b"}, nix=fake)
        assert "a=/b" in run.argv

    def test_building_takes_a_store_and_time_to_stop(
        self, run: FakeProcess, fake: Nix, bin_directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked = []
        real = invocation.choose_store

        def choose(nix: Nix, *, needed: bool) -> invocation.Store:
            asked.append(needed)
            return real(nix, needed=needed)

        monkeypatch.setattr(invocation, "choose_store", choose)
        shim.evaluate("x", import_from_derivation=True, nix=fake)
        assert run.option("allow-import-from-derivation") == "true"
        assert run.calls[0]["ask_seconds"] == 5.0
        shim.evaluate("x", nix=fake)
        shim.evaluate(installable=".#x", nix=fake)
        assert asked == [True, False, True]
        assert run.calls[-1]["ask_seconds"] == 0.0

    def test_a_dummy_store_is_only_read(self, run: FakeProcess, bin_directory: Path) -> None:
        shim.evaluate("x", nix=Nix(program=str(bin_directory / "nix"), store="dummy://"))
        assert "--read-write-mode" not in run.argv
        assert run.argv[3:5] == ["--store", "dummy://"]

    def test_an_installable(self, run: FakeProcess, fake: Nix, bin_directory: Path) -> None:
        shim.evaluate(installable=".#x", nix=fake)
        (call,) = run.calls
        apply = call["argv"][-2]
        assert call["argv"] == [
            str(bin_directory / "nix"),
            *("eval", "--json", "--no-write-lock-file"),
            *STORE,
            *SETTINGS,
            *("--option", "allow-import-from-derivation", "false"),
            *("--option", "eval-cache", "false"),
            *("--apply", apply, ".#x"),
        ]
        assert apply.startswith("value: ((")
        assert apply.endswith('") ( value)')
        assert call["stdin"] == b""

    def test_an_installables_data_apply_and_inputs(self, run: FakeProcess, fake: Nix) -> None:
        shim.evaluate(
            installable=".#x", data=3, apply="f", impure=True, override_inputs={"a": "b", "c": "d"}, nix=fake
        )
        assert run.argv[-10:-3] == ["--impure", "--override-input", "a", "b", "--override-input", "c", "d"]
        assert run.argv[-2].endswith('(\nf\n) (value (builtins.fromJSON "3")))')

    def test_an_installables_long_data_goes_through_a_file_that_nix_can_check(
        self, fake: Nix, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen = []

        def read(argv: list[str], **_options: Any) -> Finished:
            found = re.search(r'fetchurl \(builtins.fromJSON "(.*?)"\)\)', argv[-2])
            assert found is not None
            given = json.loads(found[1].replace('\\"', '"'))
            path = Path(given["url"].removeprefix("file://"))
            seen.append((given, path, path.read_bytes()))
            return Finished(argv=(), returncode=0, stdout=b"1", stderr=b"")

        monkeypatch.setattr(process, "run_nix", read)
        data = "x" * (96 << 10)
        assert shim.evaluate(installable=".#x", data=data, nix=fake) == 1
        ((given, path, content),) = seen
        assert json.loads(content) == data
        assert given["sha256"] == hashlib.sha256(content).hexdigest()
        assert given["name"] == path.name == "data.json"
        assert path.parent.name.startswith("pynix-eval-shim-")
        assert not path.parent.exists()

    def test_each_call_has_a_tag_of_its_own_by_which_floats_are_known(
        self, run: FakeProcess, fake: Nix
    ) -> None:
        for _ in range(2):
            shim.evaluate("x", nix=fake)
        tags = {
            tag for call in run.calls for tag in re.findall(r'"(float-[0-9a-f]{32})"', call["stdin"].decode())
        }
        assert len(tags) == 2

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ({"expression": "x", "file": "/y"}, "exactly one"),
            ({"expression": "x", "installable": "y"}, "exactly one"),
            ({"file": "x", "installable": "y"}, "exactly one"),
            ({}, "exactly one"),
            ({"expression": "x", "nix_path": {"a": "b"}}, "impure"),
            ({"installable": "x", "nix_path": {"a": "b"}}, "impure"),
            ({"expression": "x", "override_inputs": {"a": "b"}}, "installable"),
        ],
    )
    def test_contradictions(self, run: FakeProcess, fake: Nix, arguments: dict[str, Any], says: str) -> None:
        with pytest.raises(TypeError, match=says):
            shim.evaluate(**arguments, nix=fake)
        assert run.calls == []
        # What is empty contradicts nothing.
        shim.evaluate("", nix_path={}, override_inputs={}, nix=fake)

    def test_a_reference_that_looks_like_an_option(self, run: FakeProcess, fake: Nix) -> None:
        for call in (
            lambda: shim.evaluate(installable="--help", nix=fake),
            lambda: shim.build(installable="-f", nix=fake),
            lambda: shim.flake_check("-f", nix=fake),
        ):
            with pytest.raises(shim.DataError) as caught:
                call()
            assert str(caught.value.hint).startswith("write ./-")
        assert run.calls == []

    def test_warnings_and_notes_are_logged(
        self, run: FakeProcess, fake: Nix, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO", logger="pynix_eval_shim")
        lines = [
            {"action": "msg", "level": 1, "msg": "warning: %s"},
            {"action": "msg", "level": 0, "msg": "trace: n"},
        ]
        run.answers = [(0, "1", "\n".join("@nix " + json.dumps(line) for line in lines))]
        shim.evaluate("x", nix=fake)
        assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
            ("WARNING", "%s"),
            ("INFO", "trace: n"),
        ]


def test_parse(run: FakeProcess, fake: Nix, bin_directory: Path) -> None:
    shim.parse("a:\n b", limits=Limits(seconds=2.0), nix=fake)
    (call,) = run.calls
    assert call["argv"] == [
        str(bin_directory / "nix-instantiate"),
        *("--parse", "--store", "dummy://"),
        *SETTINGS,
        "-",
    ]
    assert call["stdin"] == b"a:\n b"
    assert call["limits"] == Limits(seconds=2.0)
    run.answers = [(1, "", error_event("syntax error, x", file="«stdin»", line=2, column=2))]
    with pytest.raises(shim.NixSyntaxError) as caught:
        shim.parse("a:\n b", nix=fake)
    assert str(caught.value) == "«string»:2:2: syntax error, x"


def test_limits_that_nobody_gave() -> None:
    assert Limits() == Limits(seconds=300.0, memory_bytes=8589934592, output_bytes=268435456)
    assert Limits(seconds=3600.0, memory_bytes=None, output_bytes=268435456) == BUILD_LIMITS


def test_every_argument_is_known_by_its_type() -> None:
    known = inspect.signature(prepare_evaluation).parameters
    assert {"expression", *EvaluationArguments.__annotations__} == {*known}


def test_an_unknown_argument_is_an_error() -> None:
    with pytest.raises(TypeError, match="impurely"):
        shim.evaluate("1", impurely=True)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="impurely"):
        shim.evaluate_each("{ }", on_attribute=print, impurely=True)  # type: ignore[call-arg]

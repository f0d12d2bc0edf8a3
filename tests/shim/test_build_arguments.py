"""What nix is asked where it builds, checks, verifies and is probed; the process is a fake."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from support.fake_nix import SETTINGS, STORE, FakeProcess, error_event

import pynix_eval_shim as shim
from pynix_eval_shim import BUILD_LIMITS, Limits, Nix
from pynix_eval_shim.process import Watch


class TestBuild:
    ITEM = json.dumps([{"drvPath": "/a.drv", "outputs": {"out": "/a", "doc": None}}, {"path": "/b"}, "/c"])

    def test_an_installable(self, run: FakeProcess, fake: Nix, bin_directory: Path) -> None:
        run.answers = [(0, self.ITEM, "")]
        assert shim.build(installable=".#x", nix=fake) == (
            shim.Built(drv="/a.drv", outputs={"out": "/a"}),
            shim.Built(drv=None, outputs={"out": "/b"}),
            shim.Built(drv=None, outputs={"out": "/c"}),
        )
        (call,) = run.calls
        assert call["argv"] == [
            str(bin_directory / "nix"),
            *("build", "--json", "--no-write-lock-file", "--no-link"),
            *STORE,
            *SETTINGS,
            *("--option", "eval-cache", "false"),
            ".#x",
        ]
        assert call["stdin"] == b""
        assert call["limits"] is BUILD_LIMITS
        assert call["ask_seconds"] == 5.0
        assert call["watch"] == Watch()

    def test_an_expression(self, run: FakeProcess, fake: Nix, tmp_path: Path) -> None:
        run.answers = [(0, "[]", "")]
        stop = threading.Event()
        found = shim.build(
            "f",
            data=1,
            out_link=tmp_path / "link",
            nix_path={"a": "/b"},
            override_inputs={"c": "d"},
            cwd=tmp_path,
            on_event=lambda event: None,
            stop=stop,
            limits=Limits(seconds=9.0),
            nix=fake,
        )
        assert found == ()
        (call,) = run.calls
        assert call["argv"][4:6] == ["--out-link", str(tmp_path / "link")]
        assert call["argv"][8:10] == ["-I", "a=/b"]
        assert call["argv"][-8:] == [
            *("--override-input", "c", "d"),
            *("--arg", "expression", "f"),
            *("--file", "-"),
        ]
        assert call["stdin"] == b'{ expression }:  (expression (builtins.fromJSON "1"))\n'
        assert call["limits"] == Limits(seconds=9.0)
        assert call["cwd"] == tmp_path
        assert call["watch"].stop is stop
        assert call["watch"].on_stderr is not None

    def test_a_file(self, run: FakeProcess, fake: Nix, tmp_path: Path) -> None:
        run.answers = [(0, "[]", "")]
        shim.build(file="a.nix", cwd=tmp_path, nix=fake)
        assert run.argv[-5:] == ["--argstr", "file", f"{tmp_path}/a.nix", "--file", "-"]
        assert run.calls[0]["stdin"] == b"{ file }:  (import file)\n"

    def test_impurity_is_asked_for_where_an_installable_would_be_pure(
        self, run: FakeProcess, fake: Nix
    ) -> None:
        run.answers = [(0, "[]", "")]
        shim.build(installable=".#x", impure=True, nix=fake)
        assert run.argv[-2:] == ["--impure", ".#x"]

    def test_data_for_an_installable(self, run: FakeProcess, fake: Nix) -> None:
        with pytest.raises(TypeError, match="data="):
            shim.build(installable=".#x", data=None, nix=fake)
        assert run.calls == []

    @pytest.mark.parametrize(
        "answer", ["", "{", "3", "[3]", '[{"drvPath": "/a"}]', '[{"outputs": {}}]', "[null]"]
    )
    def test_an_answer_that_cannot_be_understood(self, run: FakeProcess, fake: Nix, answer: str) -> None:
        run.answers = [(0, answer, "said besides")]
        with pytest.raises(shim.NixError, match="cannot be understood") as caught:
            shim.build(installable=".#x", nix=fake)
        assert repr(answer.encode()) in caught.value.message
        assert caught.value.stderr == "said besides"
        assert caught.value.argv[1] == "build"

    def test_events_come_from_standard_error(self, run: FakeProcess, fake: Nix) -> None:
        run.answers = [(0, "[]", "")]
        heard: list[shim.BuildEvent] = []
        shim.build("x", on_event=heard.append, nix=fake)
        run.calls[0]["watch"].on_stderr(b'@nix {"action":"start","type":105,"fields":["/a.drv"]}\n')
        assert heard == [shim.BuildEvent(drv="/a.drv")]

    def test_progress_alone_comes_from_there_too(self, run: FakeProcess, fake: Nix) -> None:
        run.answers = [(0, "[]", ""), (0, "[]", "")]
        heard: list[shim.BuildProgress] = []
        shim.build("x", on_progress=heard.append, nix=fake)
        feed = run.calls[0]["watch"].on_stderr
        feed(b'@nix {"action":"start","id":7,"type":104}\n')
        feed(b'@nix {"action":"start","type":105,"fields":["/a.drv"]}\n')
        feed(b'@nix {"action":"result","id":7,"type":105,"fields":[1,2,0,0]}\n')
        assert heard == [shim.BuildProgress(built=1, to_build=2)]
        shim.build("x", nix=fake)
        assert run.calls[1]["watch"].on_stderr is None


class TestFlakeCheck:
    WARNS = '@nix {"action":"msg","level":1,"msg":"warning: w"}'
    UNKNOWN = "error: unrecognised flag '--all-systems'"

    def test_a_flake(self, run: FakeProcess, fake: Nix, bin_directory: Path) -> None:
        run.answers = [(0, "", self.WARNS)]
        assert shim.flake_check(Path("/f"), nix=fake).warnings == ("w",)
        (call,) = run.calls
        assert call["argv"] == [
            str(bin_directory / "nix"),
            *("flake", "check", "/f", "--no-write-lock-file"),
            *STORE,
            *SETTINGS,
            *("--option", "eval-cache", "false"),
        ]
        assert call["limits"] is BUILD_LIMITS
        assert call["ask_seconds"] == 5.0

    def test_all_that_can_be_asked_for(self, run: FakeProcess, fake: Nix) -> None:
        shim.flake_check(
            "f",
            override_inputs={"a": "b"},
            no_build=True,
            all_systems=True,
            impure=True,
            limits=Limits(),
            nix=fake,
        )
        assert run.argv[3:6] == ["--no-write-lock-file", "--no-build", "--impure"]
        assert run.argv[-4:] == ["--override-input", "a", "b", "--all-systems"]
        assert run.calls[0]["limits"] == Limits()

    def test_a_version_that_takes_in_all_systems_always(self, run: FakeProcess, fake: Nix) -> None:
        run.answers = [(1, "", self.UNKNOWN), (0, "", self.WARNS)]
        assert shim.flake_check("f", all_systems=True, nix=fake).warnings == ("w",)
        assert [call["argv"][-1] for call in run.calls] == ["--all-systems", "false"]

    def test_any_other_error_is_that(self, run: FakeProcess, fake: Nix) -> None:
        run.answers = [(1, "", "error: it is broken")]
        with pytest.raises(shim.NixError, match="it is broken"):
            shim.flake_check("f", all_systems=True, nix=fake)
        assert len(run.calls) == 1


class TestClosures:
    def test_requisites(self, run: FakeProcess, fake: Nix, bin_directory: Path) -> None:
        run.answers = [(0, "/b\n/a\n", "")]
        assert shim.requisites("/b", nix=fake) == ("/a", "/b")
        (call,) = run.calls
        assert call["argv"] == [
            str(bin_directory / "nix-store"),
            *("--query", "--requisites", "/b"),
            *STORE,
            *SETTINGS,
        ]
        assert call["limits"] == Limits()
        shim.requisites("/b", limits=Limits(seconds=1.0), nix=fake)
        assert run.calls[1]["limits"] == Limits(seconds=1.0)

    def test_paths_are_verified_in_parts(self, run: FakeProcess, fake: Nix, bin_directory: Path) -> None:
        run.answers = [(0, "", "")]
        paths = [f"/p{number}" for number in range(1001)]
        assert shim.find_modified(paths, nix=fake) == ()
        asked = [[each for each in call["argv"] if each.startswith("/p")] for call in run.calls]
        assert [len(part) for part in asked] == [500, 500, 1]
        assert [path for part in asked for path in part] == paths
        assert run.calls[0]["argv"][:2] == [str(bin_directory / "nix-store"), "--verify-path"]
        assert run.calls[0]["argv"][502:] == [*STORE, *SETTINGS]
        assert run.calls[0]["limits"] is BUILD_LIMITS
        assert run.calls[0]["env"] == fake.environment()

    def test_what_was_modified_in_each_part(self, run: FakeProcess, fake: Nix) -> None:
        def note(path: str) -> str:
            return "@nix " + json.dumps(
                {"action": "msg", "level": 0, "msg": f"path '{path}' was modified! expected"}
            )

        run.answers = [(1, "", f"{note('/p3')}\n{note('/p1')}"), (0, "", ""), (1, "", note("/p1000"))]
        assert shim.find_modified([f"/p{n}" for n in range(1001)], nix=fake) == ("/p3", "/p1", "/p1000")

    @pytest.mark.parametrize(
        ("returncode", "stderr", "says"),
        [
            (1, "", "exit status 1"),
            (2, '@nix {"action":"msg","level":0,"msg":"path \'/a\' was modified!"}', "exit status 2"),
            (-9, "", "SIGKILL"),
            (0, error_event("path '/a' is not valid"), "is not valid"),
            (
                1,
                '@nix {"action":"msg","level":0,"msg":"path \'/a\' was modified!"}\n'
                + error_event("no such store"),
                "no such store",
            ),
        ],
    )
    def test_anything_else_is_an_error(
        self, run: FakeProcess, fake: Nix, returncode: int, stderr: str, says: str
    ) -> None:
        run.answers = [(returncode, "", stderr)]
        with pytest.raises(shim.NixError, match=says):
            shim.find_modified(["/a"], nix=fake)
        assert len(run.calls) == 1  # the version does not matter: nobody throws here


class TestProbe:
    def probe(self, run: FakeProcess, fake: Nix, *lines: str) -> shim.Probe:
        run.answers = [(0, "nix (Nix) 2.8.0\n", ""), (0, "\n".join(["system = x86_64-linux", *lines]), "")]
        return shim.probe(nix=fake)

    def test_it_asks_twice(self, run: FakeProcess, fake: Nix, bin_directory: Path) -> None:
        found = self.probe(run, fake)
        assert [call["argv"][1:] for call in run.calls] == [["--version"], ["show-config", *SETTINGS]]
        assert run.calls[1]["limits"] == Limits()
        assert found == shim.Probe(
            implementation=shim.Implementation.NIX,
            version="2.8.0",
            release=(2, 8, 0),
            system="x86_64-linux",
            system_features=frozenset(),
            experimental_features=frozenset(),
            sandbox=False,
            remote_builders=False,
        )
        run.answers = [(0, "nix (Nix) 2.8.0\n", ""), (0, "system = x", "")]
        shim.probe(limits=Limits(seconds=3.0), nix=fake)
        assert run.calls[3]["limits"] == Limits(seconds=3.0)

    def test_settings(self, run: FakeProcess, fake: Nix) -> None:
        found = self.probe(
            run, fake, "system-features =  kvm a ", "experimental-features = flakes", "x", "y = a = b"
        )
        assert found.system_features == {"kvm", "a"}
        assert found.experimental_features == {"flakes"}

    @pytest.mark.parametrize(("value", "sandbox"), [("true", True), ("relaxed", True), ("false", False)])
    def test_sandboxes(self, run: FakeProcess, fake: Nix, value: str, sandbox: bool) -> None:
        assert self.probe(run, fake, f"sandbox = {value}").sandbox is sandbox

    @pytest.mark.parametrize(
        ("content", "remote"),
        [("", False), ("# a\n\n  # b\n", False), ("# a\n ssh://b\n", True), ("ssh://\xff", True)],
    )
    def test_a_file_of_machines(
        self, run: FakeProcess, fake: Nix, tmp_path: Path, content: str, remote: bool
    ) -> None:
        (tmp_path / "machines").write_bytes(content.encode("latin-1"))
        assert self.probe(run, fake, f"builders = @{tmp_path}/machines").remote_builders is remote
        assert self.probe(run, fake, f"builders = @{tmp_path}/none").remote_builders is False

    def test_a_list_of_machines(self, run: FakeProcess, fake: Nix) -> None:
        assert self.probe(run, fake, "builders = ssh://a").remote_builders is True
        assert self.probe(run, fake, "builders = ").remote_builders is False

    def test_without_a_system_it_is_no_nix(self, run: FakeProcess, fake: Nix, bin_directory: Path) -> None:
        run.answers = [(0, "nix (Nix) 2.8.0\n", ""), (0, "sandbox = true", "")]
        with pytest.raises(shim.NixError, match=f"{bin_directory}/nix: its settings do not say"):
            shim.probe(nix=fake)

"""Host descriptions in editors: the language servers of YAML and TOML with the schema of a whole description.

They come from npm, where the run has it: in continuous integration once a week.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.language_server import LanguageServer, start_language_server
from support.needs import require_tool
from support.npm_packages import find_npm_package

from ectools.schemas import schemas_directory

pytestmark = pytest.mark.full

HERE = Path(__file__).resolve().parent
ABOUT_LISTEN_IP = "This host's IPv4 address on the clients' network."
YAML_SETTINGS = {"validate": True, "hover": True, "completion": True, "schemaStore": {"enable": False}}

TOML = """\
#:schema ./host.document.json
[services.every-channel.netboot]
enable = true
listenIP = "192.0.2.1"
httpPort = 99999

"""
YAML = """\
# yaml-language-server: $schema=./host.document.json
services:
  every-channel:
    netboot:
      enable: true
      listenIP: 192.0.2.1
      httpPort: 99999
      \n"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    shutil.copy(schemas_directory() / "host.document.json", tmp_path)
    return tmp_path


@pytest.fixture
def taplo(directory: Path) -> Iterator[LanguageServer]:
    package = find_npm_package("@taplo/lsp", "0.8.0")
    argv = [
        require_tool("node", "install Node.js"),
        str(HERE.parent / "support/taplo_stdio.mjs"),
        str(package),
    ]
    with start_language_server(
        argv, directory, settings={"evenBetterToml": {"schema": {"enabled": True}}}
    ) as server:
        yield server


@pytest.fixture
def yaml_server(directory: Path) -> Iterator[LanguageServer]:
    package = find_npm_package("yaml-language-server", "1.25.0")
    program = package / "node_modules/.bin/yaml-language-server"
    argv = [require_tool("node", "install Node.js"), str(program), "--stdio"]
    with start_language_server(argv, directory, settings={"yaml": YAML_SETTINGS}) as server:
        yield server


def test_toml(taplo: LanguageServer, directory: Path) -> None:
    file = directory / "host.toml"
    (problem,) = taplo.find_problems(file, "toml", TOML)
    assert problem["message"] == "99999 is greater than the maximum of 65535"
    assert problem["range"]["start"]["line"] == 4
    assert taplo.hover(file, 3, 3).startswith(ABOUT_LISTEN_IP)
    assert {"hostname", "httpAllowedCIDRs", "release"} <= {
        item["label"] for item in taplo.complete(file, 5, 0)
    }


def test_yaml(yaml_server: LanguageServer, directory: Path) -> None:
    file = directory / "host.yaml"
    (problem,) = yaml_server.find_problems(file, "yaml", YAML)
    assert problem["message"] == "Value is above the maximum of 65535."
    assert problem["range"]["start"]["line"] == 6
    assert ABOUT_LISTEN_IP in yaml_server.hover(file, 5, 8).replace("\\", "").replace("&nbsp;", " ")
    labels = {item["label"] for item in yaml_server.complete(file, 7, 6)}
    assert {"hostname", "httpAllowedCIDRs", "release"} <= labels


def test_what_init_writes_is_taken(taplo: LanguageServer, directory: Path) -> None:
    file = directory / "host.toml"
    argv = [
        sys.executable,
        "-m",
        "ectools.cli.main",
        "init",
        "netboot",
        "--editor-schema",
        "./host.document.json",
    ]
    text = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout
    # What it is shown first is wrong, so that there is an answer that says that all is well again.
    assert taplo.find_problems(file, "toml", text.replace("enable = true", "enable = 1"))
    assert taplo.find_problems(file, "toml", text, wanted=False) == []

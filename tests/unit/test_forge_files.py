"""What the forge reads: issue forms, workflows, and the version that the changelog tells of.

Forgejo leaves a form that it cannot read out of its list without a word, and never runs a workflow that it
cannot read. Its rules: https://forgejo.org/docs/latest/user/issue-pull-request-templates/ and
https://forgejo.org/docs/latest/user/actions/.
"""

from __future__ import annotations

import re
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FORGE = ROOT / ".forgejo"
FORMS = sorted(set(FORGE.glob("issue_template/*.yaml")) - {FORGE / "issue_template/config.yaml"})
WORKFLOWS = sorted(FORGE.glob("workflows/*"))
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def read(path: Path) -> dict[Any, Any]:
    document = yaml.safe_load(path.read_text())
    assert isinstance(document, dict)
    return document


def show(path: Path) -> str:
    return path.name


@pytest.mark.parametrize("path", FORMS, ids=show)
def test_an_issue_form_is_one_that_forgejo_takes(path: Path) -> None:
    form = read(path)
    assert set(form) == {"name", "about", "title", "body"}
    assert form["name"]
    assert form["about"]
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert [field["type"] for field in fields if field["type"] not in ("textarea", "input", "dropdown")] == []
    identifiers = [field["id"] for field in fields]
    assert len(identifiers) == len(set(identifiers))
    for field in form["body"]:
        assert set(field) <= {"type", "id", "attributes", "validations"}
        attributes = field["attributes"]
        if field["type"] == "markdown":
            assert set(attributes) == {"value"}
            continue
        assert re.fullmatch(r"[a-z-]+", field["id"])
        assert isinstance(attributes["label"], str)
        assert set(attributes) <= {"label", "description", "options", "render"}
        assert all(isinstance(option, str) for option in attributes.get("options", ()))
        assert ("options" in attributes) is (field["type"] == "dropdown")


def test_whoever_has_found_a_vulnerability_is_led_away_from_the_public_issues() -> None:
    config = read(FORGE / "issue_template/config.yaml")
    assert set(config) == {"blank_issues_enabled", "contact_links"}
    links = [link["url"] for link in config["contact_links"]]
    assert any(link.endswith("/SECURITY.md") for link in links)
    for link in links:
        assert (ROOT / link.partition("/src/branch/main/")[2]).is_file()


@pytest.mark.parametrize("path", WORKFLOWS, ids=show)
def test_a_workflow_runs_what_contributing_names_and_ends(path: Path) -> None:
    workflow = read(path)
    # YAML 1.1 reads the key `on` as true.
    assert set(workflow) - {"concurrency"} == {"name", True, "jobs"}
    # A forge that knows of it lets one run at a time; what one has half published is not to be cut off.
    assert workflow.get("concurrency", {}).get("cancel-in-progress", False) is False
    for job in workflow["jobs"].values():
        assert set(job) == {"runs-on", "timeout-minutes", "container", "steps"}
        checkout, *steps = job["steps"]
        assert checkout["uses"].startswith("https://data.forgejo.org/actions/checkout@")
        (command,) = (step["run"] for step in steps)
        assert (ROOT / command.split()[0]).stat().st_mode & 0o111
        assert command == ".ci/run" or command in (ROOT / "CONTRIBUTING.md").read_text()


def test_a_change_is_tested_as_continuous_integration_does() -> None:
    (job,) = read(FORGE / "workflows/test.yaml")["jobs"].values()
    assert job["steps"][-1] == {"run": ".ci/run"}


def test_the_changelog_tells_of_the_version_and_of_what_comes() -> None:
    headings = re.findall(r"(?m)^## (.*)$", (ROOT / "CHANGELOG.md").read_text())
    assert headings[0] == "Unreleased"
    versions = [re.fullmatch(r"(\d+)\.(\d+)\.(\d+)(?: \(\d{4}-\d\d-\d\d\))?", each) for each in headings[1:]]
    assert None not in versions
    numbers = [tuple(map(int, version.groups())) for version in versions if version]
    assert ".".join(map(str, numbers[0])) == VERSION
    assert all(newer > older for newer, older in pairwise(numbers))

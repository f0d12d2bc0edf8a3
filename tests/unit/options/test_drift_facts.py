"""What a change between schemas carries besides its kind: its words, and both sides."""

from __future__ import annotations

from typing import Any

import pytest
from support.drift_schemas import INT, Schema, document, option

from ectools.options.drift import Change, ChangeKind, compare


def whole(change: Change) -> tuple[Any, ...]:
    return change.kind, change.option, change.message, change.old, change.new


class TestFacts:
    """What a change carries besides its kind: its words, and both sides."""

    def test_other_values(self) -> None:
        old, new = option(**INT, default=1), option(**{**INT, "maximum": 9}, default=1)
        (change,) = compare(document({"x": old}), document({"x": new}))
        assert whole(change) == (
            ChangeKind.BREAKING,
            "s.x",
            "values that were valid are not any more",
            INT,
            {**INT, "maximum": 9},
        )
        (change,) = compare(document({"x": new}), document({"x": old}))
        assert whole(change) == (
            ChangeKind.COMPATIBLE,
            "s.x",
            "more values are valid than before",
            {**INT, "maximum": 9},
            INT,
        )

    @pytest.mark.parametrize(
        ("old", "new", "words"),
        [
            ({"default": "a"}, {"default": "ÿ"}, '"a" and is "ÿ"'),
            ({}, {"default": None}, "none and is null"),
            ({"default": 1}, {"x-nix-default-text": "pkgs.x"}, "1 and is pkgs.x"),
            ({"x-nix-default-markdown": "words"}, {}, "words and is none"),
            ({"x-nix-default-markdown": "words"}, {"default": 1}, "words and is 1"),
            ({"default": 1}, {"x-nix-default-markdown": "words"}, "1 and is words"),
        ],
    )
    def test_another_default(self, old: Schema, new: Schema, words: str) -> None:
        (change,) = compare(document({"x": option(**old)}), document({"x": option(**new)}))
        expected = f"its default was {words}"
        assert whole(change) == (ChangeKind.BREAKING, "s.x", expected, old or None, new or None)

    def test_other_words_for_a_default(self) -> None:
        old, new = {"x-nix-default-markdown": "a"}, {"x-nix-default-markdown": "b"}
        (change,) = compare(document({"x": option(**old)}), document({"x": option(**new)}))
        assert whole(change) == (ChangeKind.DOCS, "s.x", "the words for its default differ", old, new)

    @pytest.mark.parametrize(
        ("key", "words"),
        [
            ("description", "the description"),
            ("examples", "the example"),
            ("x-nix-example-text", "the example"),
            ("x-nix-example-markdown", "the example"),
            ("x-nix-type", "the type's name"),
            ("x-nix-declarations", "where it is declared"),
            ("x-nix-internal", "whether it is internal"),
            ("x-nix-visible", "whether it is shown"),
            ("x-nix-related-packages", "the related packages"),
            ("x-nix-unreachable", "the alternatives that are never tried"),
            ("x-nix-unrepresentable", "what the schema cannot say"),
            ("x-nix-broken", "what could not be evaluated"),
        ],
    )
    def test_docs(self, key: str, words: str) -> None:
        old, new = option(**INT), option(**INT) | {key: ["new"]}
        (change,) = compare(document({"x": old}), document({"x": new}))
        assert whole(change) == (ChangeKind.DOCS, "s.x", f"{words} differs", old.get(key), ["new"])

    @pytest.mark.parametrize(
        "keywords",
        [
            {"description": "two\nlines\n"},
            {"x-nix-default-text": "[\n  <derivation a>\n]\n"},
            {"x-nix-default-markdown": "some *words*\n"},
            {"x-nix-example-text": "{\n  a = 1;\n}"},
        ],
    )
    def test_white_space_which_earlier_exports_left_out(self, keywords: dict[str, str]) -> None:
        squeezed = {key: " ".join(text.split()) for key, text in keywords.items()}
        assert compare(document({"x": option(**squeezed)}), document({"x": option(**keywords)})) == []

    @pytest.mark.parametrize(
        "keywords", [{"x-nix-modules": ["a.nix"]}, {"x-nix-empty": {}}, {"x-nix-placeholder": "host"}]
    )
    def test_what_only_lists_of_options_show(self, keywords: dict[str, Any]) -> None:
        old = option(type="object", additionalProperties={"type": "string"})
        assert compare(document({"x": old}), document({"x": {**old, **keywords}})) == []

    def test_read_only(self) -> None:
        old, new = document({"x": option(**INT)}), document({"x": option(**INT, readOnly=True)})
        (change,) = compare(old, new)
        assert (change.kind, change.message) == (ChangeKind.BREAKING, "it is read-only now")
        (change,) = compare(new, old)
        assert (change.kind, change.message) == (ChangeKind.COMPATIBLE, "it is not read-only any more")

    def test_gone_and_new(self) -> None:
        (gone,) = compare(document({"x": option(**INT)}), document({}))
        assert whole(gone) == (ChangeKind.BREAKING, "s.x", "it is gone", option(**INT), None)
        (new,) = compare(document({}), document({"x": option(**INT)}))
        assert whole(new) == (ChangeKind.COMPATIBLE, "s.x", "it is new", None, option(**INT))
        (new,) = compare(document({}), document({"x": option(**INT)}, required=("x",)))
        assert whole(new) == (
            ChangeKind.BREAKING,
            "s.x",
            "it is new and must be set",
            None,
            option(**INT),
        )

    def test_required(self) -> None:
        free, needed = document({"x": option()}), document({"x": option()}, required=("x",))
        (change,) = compare(free, needed)
        assert whole(change) == (ChangeKind.BREAKING, "s.x", "it must be set now", False, True)
        (change,) = compare(needed, free)
        assert whole(change) == (ChangeKind.COMPATIBLE, "s.x", "it need not be set any more", True, False)

    def test_further_names(self) -> None:
        closed, opened = document({}), document({}, further={"type": "string"})
        (change,) = compare(closed, opened)
        assert whole(change) == (
            ChangeKind.COMPATIBLE,
            "s.<name>",
            "further names are allowed, or take more than before",
            False,
            {"type": "string"},
        )
        (change,) = compare(opened, closed)
        assert whole(change) == (
            ChangeKind.BREAKING,
            "s.<name>",
            "further names take less than before, or are not allowed any more",
            {"type": "string"},
            False,
        )

    def test_options_that_stand_elsewhere(self) -> None:
        moved = {**document({"x": option()}), "x-nix-path": ["t", "u"]}
        (change,) = compare(document({"x": option()}), moved)
        assert whole(change) == (
            ChangeKind.BREAKING,
            "t.u",
            "the options stood at s before",
            ("s",),
            ("t", "u"),
        )
        rootless = {key: value for key, value in moved.items() if key != "x-nix-path"}
        (change,) = compare(rootless, moved)
        assert change.message == "the options stood at the root before"
        assert change.option == "t.u"

"""Comparisons with Hugging Face's models are not skipped silently in CI."""

import sys

import pytest

from tests.support.hugging_face import transformers_or_skip


@pytest.fixture(autouse=True)
def without_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make transformers look uninstalled."""
    monkeypatch.setitem(sys.modules, "transformers", None)


def test_in_ci_a_comparison_fails_without_transformers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(ImportError, match="transformers"):
        transformers_or_skip()


def test_outside_ci_a_comparison_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="transformers"):
        transformers_or_skip()

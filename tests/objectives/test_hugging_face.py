"""Comparisons with Hugging Face's models cannot vanish unseen."""

import sys

import pytest

from tests.support.hugging_face import transformers_or_skip


@pytest.fixture(autouse=True)
def without_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if it were not installed."""
    monkeypatch.setitem(sys.modules, "transformers", None)


def test_in_ci_a_comparison_fails_where_transformers_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(ImportError, match="transformers"):
        transformers_or_skip()


def test_elsewhere_it_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="transformers"):
        transformers_or_skip()

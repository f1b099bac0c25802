"""Hugging Face's transformers, which the objectives are compared with."""

import importlib
import os
from types import ModuleType

import pytest


def transformers_or_skip() -> ModuleType:
    """The package. Without it a test is skipped, but fails where CI is set: no comparison may vanish there unseen."""
    if os.environ.get("CI"):
        return importlib.import_module("transformers")
    module: ModuleType = pytest.importorskip("transformers")
    return module

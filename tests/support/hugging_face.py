"""Import Hugging Face's transformers, the reference of the parity tests."""

import importlib
import os
from types import ModuleType

import pytest


def transformers_or_skip() -> ModuleType:
    """Return the package. Without it, a test is skipped, or fails if the variable CI is set."""
    if os.environ.get("CI"):
        return importlib.import_module("transformers")
    module: ModuleType = pytest.importorskip("transformers")
    return module

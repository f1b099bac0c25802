import pytest


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test with the argument `kind` for every kind in the list KINDS of its module."""
    if "kind" in metafunc.fixturenames:
        kinds = metafunc.module.KINDS
        metafunc.parametrize("kind", kinds, ids=[kind.name for kind in kinds])

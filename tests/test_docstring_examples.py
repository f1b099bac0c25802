"""Examples in docstrings: their calls fit the functions of today, and those without files run."""

import ast
import builtins
import doctest
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
import surgrec_shard

import surgrec

RUN = (
    "surgrec.masks.TubeletGrid",
    "surgrec.models.Encoder",
    "surgrec.models.classifier.AttentivePooler",
    "surgrec.models.classifier.Classifier",
    "surgrec.ranges.Range",
    "surgrec.stream._order.rank_positions",
    "surgrec.stream._permutation.permute",
    "surgrec.tasks",
    "surgrec.tasks.read_card",
    "surgrec.training.schedule.ScheduleConfig",
    "surgrec.user_patterns.NamedPattern",
    "surgrec.user_patterns.UserPattern",
    "surgrec.vlms._answers.parse_choice",
    "surgrec.vlms._prompts.frame_numbers",
)
"""Objects whose examples need no file, run and weights of the reader."""


def modules() -> list[str]:
    """Return the names of all modules, except the programs that run when they are imported."""
    names = [
        module.name
        for package in (surgrec, surgrec_shard)
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    ]
    return [name for name in names if "recipes" not in name and not name.endswith("__main__")]


def examples_in(module: ModuleType) -> Iterator[tuple[str, ast.Module]]:
    """Yield the name and the statements of each docstring with examples."""
    for found in doctest.DocTestFinder(exclude_empty=True).find(module):
        if found.examples:
            yield found.name, ast.parse("".join(each.source for each in found.examples))


def unfit_calls(tree: ast.Module, names: dict[str, Any]) -> Iterator[str]:
    """Yield each call of a known function whose arguments it does not accept."""
    for call in ast.walk(tree):
        if isinstance(call, ast.Call):
            function = known(call.func, names)
            fault = "is not there" if function is None else misfit(function, call)
            if fault:
                yield f"{ast.unparse(call)}: {fault}"


def known(node: ast.expr, names: dict[str, Any]) -> Callable[..., object] | None:
    """Return the called object; a function of any arguments if it is a variable of the example.

    None: it is an attribute that a known module or class does not have.
    """
    if isinstance(node, ast.Name):
        return names.get(node.id) or getattr(builtins, node.id, anything)
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        owner = names.get(node.value.id)
        if inspect.ismodule(owner) or inspect.isclass(owner):
            return getattr(owner, node.attr, None)
    return anything


def anything(*arguments: object, **options: object) -> None:
    """Take the place of a function that is not known."""


def misfit(function: Callable[..., object], call: ast.Call) -> str:
    """Return why a function does not accept the arguments of a call; empty: it does."""
    starred = any(isinstance(each, ast.Starred) for each in call.args)
    if starred or any(each.arg is None for each in call.keywords):
        return ""
    try:
        signature = inspect.signature(function)
    except ValueError:  # some functions in C have none
        return ""
    try:
        signature.bind(*call.args, **{str(each.arg): each.value for each in call.keywords})
    except TypeError as error:
        return str(error)
    return ""


def names_for(module: ModuleType) -> dict[str, Any]:
    """Return what an example may name: the module, the face of its room, and `surgrec`."""
    room = importlib.import_module(".".join(module.__name__.split(".")[:2]))
    face = {name: getattr(room, name) for name in getattr(room, "__all__", ())}
    return {"surgrec": surgrec} | face | vars(module)


@pytest.fixture(scope="module")
def examples() -> list[tuple[str, ast.Module, dict[str, Any]]]:
    found = []
    for name in modules():
        module = importlib.import_module(name)
        found += [(place, tree, names_for(module)) for place, tree in examples_in(module)]
    return found


def test_the_calls_of_examples_fit_the_functions(
    examples: list[tuple[str, ast.Module, dict[str, Any]]],
) -> None:
    assert len(examples) > 60
    unfit = [
        f"{place}: {fault}" for place, tree, names in examples for fault in unfit_calls(tree, names)
    ]
    assert unfit == []


def test_a_call_that_does_not_fit_is_found() -> None:
    faults = unfit_calls(ast.parse("surgrec.load_encoder('a', frames=3)"), {"surgrec": surgrec})
    assert list(faults) == [
        "surgrec.load_encoder('a', frames=3): got an unexpected keyword argument 'frames'"
    ]
    faults = unfit_calls(ast.parse("surgrec.open_all('a')"), {"surgrec": surgrec})
    assert list(faults) == ["surgrec.open_all('a'): is not there"]


@pytest.mark.parametrize("place", RUN)
def test_an_example_without_files_gives_what_it_prints(place: str) -> None:
    owner, _, name = place.rpartition(".")
    is_room = owner == "surgrec" and not name[0].isupper()
    found = importlib.import_module(place if is_room else owner)
    target = found if is_room else getattr(found, name)
    module = importlib.import_module(target.__name__ if is_room else target.__module__)
    tests = doctest.DocTestFinder(exclude_empty=True).find(
        target, name=place, module=module, globs=names_for(module)
    )
    ran = [test for test in tests if test.examples]
    assert ran
    for test in ran:
        result = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test)
        assert result.failed == 0, test.name

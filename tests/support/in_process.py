"""Run a recipe in the process of the test: torch is imported once."""

from pathlib import Path

from tests.support.documents import parse_config
from tests.support.processes import ROOT, load_recipe

FAST = ["--steps", "2", "--global_batch", "4", "--loader.num_workers", "0", "--log.every", "1"]


def train(name: str, corpus: Path, run_dir: Path, *options: object) -> None:
    """Train a recipe with its tiny config for two steps; later options win."""
    recipe = load_recipe(name)
    config = ROOT / f"recipes/configs/{name}_tiny.yaml"
    words = ["--config", config, "--corpus", corpus, "--run_dir", run_dir, *FAST, *options]
    recipe.main(parse_config({name: recipe}, name, [str(word) for word in words]))

"""The parts of training that all methods share: run, config, optimizer, EMA, diagnostics.

A recipe's loop, forward pass and loss are in the recipe; there is no Trainer class.
"""

from surgrec.training._checkpoint import Checkpoints
from surgrec.training._ema import ema_copy, update_ema
from surgrec.training._launch import parse_recipe, run_recipe
from surgrec.training._optimizer import OptimizerConfig, build_optimizer, clip_gradients, set_step
from surgrec.training._run import Run
from surgrec.training._run_config import RunConfig
from surgrec.training._run_weights import read_saved_weights
from surgrec.training._sharding import Sharding
from surgrec.training.schedule import ScheduleConfig, schedule_value

__all__ = [
    "Checkpoints",
    "OptimizerConfig",
    "Run",
    "RunConfig",
    "ScheduleConfig",
    "Sharding",
    "build_optimizer",
    "clip_gradients",
    "ema_copy",
    "parse_recipe",
    "read_saved_weights",
    "run_recipe",
    "schedule_value",
    "set_step",
    "update_ema",
]

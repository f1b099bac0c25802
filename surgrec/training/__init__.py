"""What every recipe shares and no method owns: schedules, optimizer, EMA, checkpoints, metrics, diagnostics. No Trainer class."""

from surgrec.training.checkpoint import Checkpoints, TrainingState
from surgrec.training.data import open_data
from surgrec.training.diagnostics import collapse_diagnostics
from surgrec.training.ema import VJEPA2_MOMENTUM, ema_copy, update_ema
from surgrec.training.init_weights import initial_weights
from surgrec.training.launch import StopRequest, start_accelerator, start_run
from surgrec.training.metrics import RunLog, progress_bar
from surgrec.training.optimizer import OptimizerConfig, build_optimizer, clip_gradients, set_step
from surgrec.training.run_config import RunConfig
from surgrec.training.run_weights import read_saved_weights
from surgrec.training.schedule import ScheduleConfig, schedule_value

__all__ = [
    "VJEPA2_MOMENTUM",
    "Checkpoints",
    "OptimizerConfig",
    "RunConfig",
    "RunLog",
    "ScheduleConfig",
    "StopRequest",
    "TrainingState",
    "build_optimizer",
    "clip_gradients",
    "collapse_diagnostics",
    "ema_copy",
    "initial_weights",
    "open_data",
    "progress_bar",
    "read_saved_weights",
    "schedule_value",
    "set_step",
    "start_accelerator",
    "start_run",
    "update_ema",
]

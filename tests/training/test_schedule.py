import itertools

import pytest

from surgrec.errors import ConfigError
from surgrec.training import ScheduleConfig, schedule_value
from surgrec.training._optimizer import VJEPA2_LR, VJEPA2_WEIGHT_DECAY
from tests.support.processes import load_recipe

VJEPA2_MOMENTUM = load_recipe("jepa").JepaConfig.momentum

# V-JEPA 1: schedules reach their end after 1.25 x the run of 90,000 steps.
VJEPA1_LR = ScheduleConfig(
    start=2e-4, value=6.25e-4, warmup_steps=12_000, decay="cosine", end=1e-6, end_step=112_500
)
VJEPA1_WEIGHT_DECAY = ScheduleConfig(value=0.04, decay="cosine", end=0.4, end_step=112_500)
VJEPA1_MOMENTUM = ScheduleConfig(value=0.998, decay="linear", end=1.0, end_step=112_500)
VJEPA2_COOLDOWN_LR = ScheduleConfig(value=5.25e-4, decay="linear", end=1e-6, end_step=12_000)
# The ablations of V-JEPA 2: 12,000 steps of warm-up, 66,000 held, 12,000 down.
VJEPA2_ABLATION_LR = ScheduleConfig(
    start=2e-4,
    value=6.25e-4,
    warmup_steps=12_000,
    decay="linear",
    decay_start=78_000,
    end=1e-6,
    end_step=90_000,
)
# VideoMAE: the rate starts at 0 and is stated per 256 clips; 2048 clips per step, 117 steps per
# epoch, 40 epochs of warm-up, 800 in all.
VIDEOMAE_LR = ScheduleConfig(
    start=0.0, value=1.2e-3, warmup_steps=4_680, decay="cosine", end=8e-5, end_step=93_600
)


@pytest.mark.parametrize(
    ("schedule", "step", "value"),
    [
        (VJEPA2_LR, 0, 1e-4),
        (VJEPA2_LR, 6_000, 3.125e-4),
        (VJEPA2_LR, 12_000, 5.25e-4),
        (VJEPA2_LR, 252_000, 5.25e-4),
        (VJEPA2_WEIGHT_DECAY, 100_000, 0.04),
        (VJEPA2_MOMENTUM, 100_000, 0.99925),
        (VJEPA1_LR, 0, 2e-4),
        (VJEPA1_LR, 12_000, 6.25e-4),
        (VJEPA1_LR, 62_250, 3.13e-4),
        (VJEPA1_LR, 90_000, 7.50e-5),  # from the published constants; 7.4e-5 is also reported
        (VJEPA1_LR, 112_500, 1e-6),
        (VJEPA1_LR, 200_000, 1e-6),
        (VJEPA1_WEIGHT_DECAY, 0, 0.04),
        (VJEPA1_WEIGHT_DECAY, 90_000, 0.3656),
        (VJEPA1_WEIGHT_DECAY, 112_500, 0.4),
        (VJEPA1_MOMENTUM, 0, 0.998),
        (VJEPA1_MOMENTUM, 90_000, 0.9996),
        (VJEPA1_MOMENTUM, 112_500, 1.0),
        (VJEPA2_COOLDOWN_LR, 0, 5.25e-4),
        (VJEPA2_COOLDOWN_LR, 3_000, 3.94e-4),
        (VJEPA2_COOLDOWN_LR, 11_999, 1.0437e-6),
        (VJEPA2_COOLDOWN_LR, 12_000, 1e-6),
        (VJEPA2_ABLATION_LR, 0, 2e-4),
        (VJEPA2_ABLATION_LR, 12_000, 6.25e-4),
        (VJEPA2_ABLATION_LR, 78_000, 6.25e-4),
        (VJEPA2_ABLATION_LR, 81_000, 4.69e-4),
        (VJEPA2_ABLATION_LR, 90_000, 1e-6),
        (VIDEOMAE_LR, 0, 0.0),
        (VIDEOMAE_LR, 2_340, 6e-4),
        (VIDEOMAE_LR, 4_680, 1.2e-3),
        (VIDEOMAE_LR, 49_140, 6.4e-4),
        (VIDEOMAE_LR, 93_600, 8e-5),
    ],
)
def test_published_schedules_have_their_values(schedule, step, value):
    assert schedule_value(schedule, step) == pytest.approx(value, rel=1e-3)


def test_a_schedule_is_continuous():
    schedule = ScheduleConfig(
        start=0.0, value=1.0, warmup_steps=10, decay="linear", end=0.0, end_step=30
    )
    values = [schedule_value(schedule, step) for step in range(40)]
    assert values[10] == 1.0
    assert values[20] == 0.5
    assert max(abs(after - before) for before, after in itertools.pairwise(values)) <= 0.1 + 1e-12


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"warmup_steps": 10}, "schedule with value 1 has start None and warmup_steps 10"),
        ({"start": 0.5}, r"start 0\.5 and warmup_steps 0"),
        ({"end": 0.1}, r"decay constant, end 0\.1"),
        ({"decay": "cosine", "end": 0.1}, "decay cosine.*end_step None"),
        (
            {"start": 0.5, "warmup_steps": 10, "decay": "linear", "end": 0.1, "end_step": 10},
            "end_step 10, but its decay starts at step 10",
        ),
        ({"decay_start": 5}, "decay_start 5, decay constant"),
        (
            {
                "start": 0.5,
                "warmup_steps": 10,
                "decay": "linear",
                "decay_start": 5,
                "end": 0.1,
                "end_step": 20,
            },
            "decay_start 5, decay linear and warmup_steps 10",
        ),
        (
            {"decay": "linear", "decay_start": 20, "end": 0.1, "end_step": 20},
            "end_step 20, but its decay starts at step 20",
        ),
    ],
)
def test_contradicting_schedule_fields_are_refused(fields, found):
    with pytest.raises(ConfigError, match=found):
        ScheduleConfig(value=1.0, **fields)

"""The step that scores a model on a task."""

from collections.abc import Sequence

from surgrec.bench._choice import BenchEncoder, BenchTask
from surgrec.bench._models import BenchVlm, Model
from surgrec.bench._names import (
    audit_name,
    check_name,
    corpus_folder,
    dedup_name,
    evaluate_name,
    results_folder,
    split_file,
)
from surgrec.bench._settings import Settings
from surgrec.bench._steps import WITH_LOSSES, Step
from surgrec.errors import ConfigError

_RESULT_FILES = ("evaluation.json", "predictions.parquet", "cases.parquet")


def evaluate_step(task: BenchTask, model: Model, settings: Settings) -> Step | None:
    """Return the evaluation of a model on a task; None if the task has no answers for it.

    Args:
        task: A task with a split.
        model: An encoder, or a vision-language model, which gives no numbers.
        settings: Options of the commands.

    Raises:
        ConfigError: A vision-language model shall see more images than a window has frames.
    """
    if isinstance(model, BenchEncoder):
        return _evaluate(task, model, settings)
    return None if task.card.kind == "numbers" else _ask(task, model, settings)


def _evaluate(task: BenchTask, encoder: BenchEncoder, settings: Settings) -> Step:
    """Return the evaluation of an encoder on a task. Features are shared within a corpus."""
    card = task.card
    folder = results_folder(task, encoder)
    features = f"features/{task.data_set}"
    is_temporal = settings.temporal and card.protocol.method == "temporal"
    stride_s = settings.stride_s or card.protocol.stride_s
    return Step(
        name=evaluate_name(task, encoder),
        kind="evaluate",
        program="surgrec",
        words=(
            *("evaluate", corpus_folder(task), "--encoder", encoder.path),
            *(("--weights", str(encoder.weights)) if encoder.weights else ()),
            *(*_labels(task), "--split", split_file(task)),
            *("--out", folder, "--features", features),
            *("--stride_s", f"{stride_s:g}", "--precision", settings.precision),
            *_rate(task, settings),
            *(("--temporal", "true") if is_temporal else ()),
            *_allowances(settings),
        ),
        machine=(
            *("--batch", str(settings.batch), "--device", settings.device),
            *("--processes", str(settings.processes)),
        ),
        inputs={"encoder": encoder.digest},
        aliases={encoder.path: "ENCODER", str(encoder.weights): "WEIGHTS"},
        needs=(check_name(task), dedup_name(task), audit_name(task)),
        outputs=tuple(f"{folder}/{name}" for name in _RESULT_FILES),
        is_resumable=True,
        locks=(features,),  # all encoders share the features of the pixels
        accepted=WITH_LOSSES,
    )


def _ask(task: BenchTask, model: BenchVlm, settings: Settings) -> Step:
    """Return the questions to a model about the windows of a task."""
    card = task.card
    folder = results_folder(task, model)
    stride_s = settings.stride_s or card.protocol.stride_s
    if settings.vlm_frames > card.protocol.num_frames:
        raise ConfigError(
            f"{task.name} has windows of {card.protocol.num_frames} frames, but --vlm_frames is "
            f"{settings.vlm_frames}; give at most {card.protocol.num_frames}"
        )
    place = ("--endpoint" if model.is_served else "--transformers", model.place)
    hosts = settings.allow_hosts
    return Step(
        name=evaluate_name(task, model),
        kind="evaluate",
        program="surgrec",
        words=(
            *("vlm", corpus_folder(task), "--model", model.model),
            *(*_labels(task), "--split", split_file(task)),
            *("--out", folder, "--window_frames", str(card.protocol.num_frames)),
            *("--frames", str(settings.vlm_frames)),
            *_rate(task, settings),
            *("--stride_s", f"{stride_s:g}", *_allowances(settings)),
        ),
        machine=(
            *(*place, "--device", settings.device),
            *(("--allow_hosts", f"[{', '.join(hosts)}]") if hosts else ()),
            *(("--api_key_env", settings.api_key_env) if settings.api_key_env else ()),
        ),
        inputs={"model": model.digest},
        needs=(check_name(task), dedup_name(task), audit_name(task)),
        outputs=tuple(f"{folder}/{name}" for name in _RESULT_FILES),
        is_resumable=True,
        is_local=model.is_served,  # its address may be of this machine alone, and so its key
        accepted=WITH_LOSSES,
    )


def allowed(names: Sequence[str]) -> tuple[str, ...]:
    """Return the option that allows findings of an audit."""
    return ("--allow", f"[{', '.join(names)}]") if names else ()


def _labels(task: BenchTask) -> tuple[str, ...]:
    """Return the options for the labels of a card."""
    card = task.card
    return (
        *("--task", card.task, "--task_kind", card.kind),
        *(("--task_scope", card.scope) if card.scope != "moment" else ()),
    )


def _rate(task: BenchTask, settings: Settings) -> tuple[str, ...]:
    """Return the option of the frame rate of windows; without one, the command has its own."""
    fps = settings.fps.get(task.data_set, task.card.protocol.fps)
    return ("--fps", f"{fps:g}") if fps else ()


def _allowances(settings: Settings) -> tuple[str, ...]:
    return (
        *allowed(settings.allow),
        *_flag("allow_pretraining_overlap", settings.allow_pretraining_overlap),
        *_flag("allow_unknown_pretraining", settings.allow_unknown_pretraining),
        *_flag("allow_repeated_frames", settings.allow_repeated_frames),
    )


def _flag(name: str, is_given: bool) -> tuple[str, ...]:
    return (f"--{name}", "true") if is_given else ()

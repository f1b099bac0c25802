"""`surgrec encoders`: the presets of other projects' encoders."""

from dataclasses import asdict

from surgrec.encoders import preset_names, read_preset
from surgrec.terminal import escape, print_json, print_result, result_table


def encoders(*, json: bool = False) -> None:
    """List the encoders that --encoder of `surgrec features` and `evaluate` knows by name.

    All except pixels need --weights, a local file: nothing is downloaded. A YAML file with the same
    fields, which may name one of these as its base, describes another encoder.

    Args:
        json: Print all facts as JSON instead of a table.

    Example:
        surgrec encoders
        surgrec features /data/corpus --encoder dinov2_vitb14 --weights FILE --out features/dino
    """
    presets = {name: read_preset(name) for name in preset_names()}
    if json:
        print_json({name: asdict(preset) for name, preset in presets.items()})
        return

    table = result_table(
        "encoders of other projects",
        left=("name", "encoder", "weights' license", "saw surgery"),
        right=("frames", "fps", "px"),
        wrap=True,
    )
    for name, preset in presets.items():
        table.add_row(
            name,
            escape(preset.summary),
            preset.license or "no weights",
            preset.pretraining.has_surgery,
            str(preset.num_frames),
            f"{preset.fps:g}",
            str(preset.preprocessing.size_px),
        )
    print_result(table)

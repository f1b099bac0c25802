"""The README.md of an exported folder: license, how to load it, what to watch, and where the weights come from."""

import json
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from surgrec.convert._pretrained import UNSTATED, Pretrained

FolderFormat: TypeAlias = Literal["hf-vjepa2", "hf-videomae", "timm"]

_LIBRARIES: dict[FolderFormat, str] = {
    "hf-vjepa2": "transformers",
    "hf-videomae": "transformers",
    "timm": "timm",
}

_LOADING: dict[FolderFormat, str] = {
    "hf-vjepa2": """\
from transformers import AutoModel, AutoVideoProcessor  # 4.53 or later

processor = AutoVideoProcessor.from_pretrained(FOLDER)
model = AutoModel.from_pretrained(FOLDER)
features = model(**processor(video, return_tensors="pt"), skip_predictor=True).last_hidden_state""",
    "hf-videomae": """\
from transformers import AutoImageProcessor, AutoModel  # 5.19 or later; 5.7 to 5.17 lose biases without a word

processor = AutoImageProcessor.from_pretrained(FOLDER)
model = AutoModel.from_pretrained(FOLDER)
features = model(**processor(list(video), return_tensors="pt")).last_hidden_state""",
    "timm": """\
import timm

model = timm.create_model("local-dir:FOLDER", pretrained=True)
features = model.forward_features(image)""",
}


def model_card(model: FolderFormat, weights: Pretrained, facts: Mapping[str, Any]) -> str:
    """The card.

    Args:
        model: Whose class loads the folder.
        weights: What is in it.
        facts: JSON values: `provenance`, and `license` where weights of others were the start.
    """
    encoder = weights.encoder.config
    front = ["---", f"library_name: {_LIBRARIES[model]}", "tags: [surgical-video, self-supervised]"]
    if facts["license"] is not None:
        front.append(
            f"license: {'unknown' if facts['license'] == UNSTATED else str(facts['license']).lower()}"
        )
    notes = [
        f"Trained on clips of {encoder.num_frames} frames of {encoder.crop_px} x {encoder.crop_px} pixels."
    ]
    if model == "hf-vjepa2":
        notes.append(
            "The model takes its grid of positions from crop_size of config.json: frames of another size need it changed."
        )
        if weights.predictor is None:
            notes.append(
                "There is no predictor: an empty one of zeros stands in its place, so that the model loads."
            )
    if weights.decoder is not None:
        notes.append(
            "The decoder is for AutoModelForPreTraining: AutoModel has no place for it and names it as unexpected."
        )
    if model == "timm":
        notes.append(
            f"This is what the video encoder does to a still image, which it sees as {encoder.tubelet_size} equal frames."
        )
    text = [
        *front,
        "---",
        "",
        "# A SurgRec encoder",
        "",
        *notes,
        "",
        _license_sentence(facts["license"]),
    ]
    text += [
        "",
        "```python",
        _LOADING[model],
        "```",
        "",
        "What it was trained on and from:",
        "",
        "```json",
    ]
    return "\n".join([*text, json.dumps(facts["provenance"], indent=1, sort_keys=True), "```", ""])


def _license_sentence(license: str | None) -> str:
    if license is None:
        return "No weights of others with a known license were the start: whoever publishes these chooses their license."
    if license == UNSTATED:
        return "These weights derive from others whose makers state no license: ask them before you pass these on."
    return f"These weights derive from others under {license}, and keep that license."

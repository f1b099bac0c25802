"""Write the README.md of an exported folder: a model card for the Hugging Face Hub."""

import json
from collections.abc import Mapping
from typing import Any

from surgrec.convert._converter import ModelFolder
from surgrec.convert._pretrained import NO_LICENSE_STATED
from surgrec.models import EncoderConfig

_CARD = """\
---
library_name: {library}
tags: [surgical-video, self-supervised]
{license_field}---

# SurgRec video encoder

{description}

## License

{license}

## Usage

Replace `FOLDER` with the path of this folder.

```python
{example}
```

## Provenance

The training data, configuration and initial weights, as recorded by SurgRec:

```json
{provenance}
```
"""


def model_card(
    folder: ModelFolder,
    encoder: EncoderConfig,
    provenance: Mapping[str, Any],
    license: str | None,
) -> str:
    """Return the model card.

    Args:
        folder: The folder to describe.
        encoder: Config of the video encoder.
        provenance: JSON values: the data and weights that the encoder was trained on and from.
        license: License of the weights that it was trained from; None if trained from scratch.
    """
    clip = (
        f"The video encoder takes clips of {encoder.num_frames} frames of "
        f"{encoder.crop_px} x {encoder.crop_px} pixels."
    )

    return _CARD.format(
        library=folder.library,
        license_field=_license_field(license),
        description="\n".join([clip, *folder.notes]),
        license=_license_sentence(license, provenance),
        example=folder.example,
        provenance=json.dumps(_without_drawn(provenance), indent=1, sort_keys=True),
    )


def _without_drawn(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return a provenance without the digests of drawn videos, which no reader wants to see."""
    readable = {name: value for name, value in provenance.items() if name != "drawn"}
    if isinstance(readable.get("init_from"), Mapping):
        readable["init_from"] = _without_drawn(readable["init_from"])
    return readable


def _license_field(license: str | None) -> str:
    """Return the front matter's line, in the Hub's identifiers; no line for a free choice."""
    if license is None:
        return ""
    return f"license: {'unknown' if license == NO_LICENSE_STATED else license.lower()}\n"


def _license_sentence(license: str | None, provenance: Mapping[str, Any]) -> str:
    if license == NO_LICENSE_STATED:
        return (
            "These weights derive from weights whose publisher states no license. Ask that "
            "publisher for permission before you redistribute them."
        )
    if license is not None:
        return f"These weights derive from weights under {license} and keep that license."

    source = provenance.get("init_from")
    if source:
        return (
            f"These weights derive from `{source['name']}`, for which no license is recorded. It "
            "was trained from scratch, so its publisher chooses the license."
        )
    return "Trained from scratch; the publisher of these weights chooses the license."

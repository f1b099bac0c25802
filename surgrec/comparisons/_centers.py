"""Join the results of several centers, which evaluated the same encoders on cases of their own."""

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, zip_longest

import numpy as np

from surgrec.comparisons._common_windows import on_common_windows
from surgrec.comparisons._predictions import Predicted, Windows
from surgrec.comparisons._results import Result
from surgrec.errors import ConfigError
from surgrec.text import counted

_CENTERS, _PATIENTS = "centers", "patients"
_OWN = re.compile(r"\(chosen[^()]*\)|(?<=test )\w+|(?<=both within )\w+")
"""Parts of a protocol that follow from the cases of a center: settings that a rule chose, and
units."""


def joined_centers(results: dict[str, list[Result]]) -> dict[str, list[Result]]:
    """Return the results of each method, restricted to common windows, with all centers joined.

    Results on equal corpora are those of one center. Within it, windows are paired. The cases of
    several centers are put one after the other, and their sources get the number of the center, in
    the given order: `1/own`.

    Args:
        results: Results of each method on one task, split and set of classes.

    Raises:
        ConfigError: An encoder lacks a center, centers share a video, or evaluations of an encoder
            have other protocols or predictions.
    """
    everything = [(method, each) for method, seeds in results.items() for each in seeds]
    by_corpora: dict[object, list[tuple[str, Result]]] = {}
    for method, result in everything:
        corpora = tuple(sorted(result.corpus_digests.items()))
        by_corpora.setdefault(corpora, []).append((method, result))
    by_center = list(by_corpora.values())
    _require_all_encoders(by_center)

    centers = []
    for here in by_center:
        common = on_common_windows([result for _, result in here])
        keys = [(method, result.encoder_sha256) for method, result in here]
        centers.append(dict(zip(keys, common, strict=True)))
    _require_other_videos([next(iter(center.values())) for center in centers])

    found: dict[str, list[Result]] = {}
    for method, encoder in centers[0]:
        parts = [center[method, encoder] for center in centers]
        found.setdefault(method, []).append(parts[0] if len(parts) == 1 else _joined(parts))
    return found


def _require_all_encoders(by_center: Sequence[Sequence[tuple[str, Result]]]) -> None:
    """Refuse centers that evaluated other encoders."""
    first, *others = by_center
    for other in others:
        for here, there in ((first, other), (other, first)):
            known = {(method, result.encoder_sha256) for method, result in there}
            for method, result in here:
                if (method, result.encoder_sha256) not in known:
                    opposite = there[0][1].folder
                    raise ConfigError(
                        f"{first[0][1].folder} and {other[0][1].folder} cannot be paired: both are "
                        f"named {result.task}, split {result.split}, but have other corpora, and "
                        f"the corpora of {opposite} have no result of {method} by the encoder "
                        f"{result.encoder_sha256[:8]}; evaluate all encoders on the same corpora, "
                        "or each of them in every center"
                    )


def _require_other_videos(centers: Sequence[Result]) -> None:
    """Refuse centers that share a video: it would count twice."""
    for first, second in combinations(centers, 2):
        shared = sorted(set(first.windows.video) & set(second.windows.video))
        if shared:
            raise ConfigError(
                f"{first.folder} and {second.folder} cannot be joined as centers: both have the "
                f"video {shared[0]} ({counted(len(shared), 'shared video')}); evaluate each video "
                "in one center"
            )


def _joined(parts: Sequence[Result]) -> Result:
    """Return one result over the cases of all centers."""
    first = parts[0]
    for other in parts[1:]:
        _require_equal_protocols(first, other)

    # Sources and cases get the number of their center: two centers may use the same name.
    return replace(
        first,
        corpus_digests={
            f"{number}/{source}": digest
            for number, part in enumerate(parts, 1)
            for source, digest in part.corpus_digests.items()
        },
        protocol=_joined_protocol([part.protocol for part in parts]),
        center_names=_center_names(parts),
        overrides=list(dict.fromkeys(each for part in parts for each in part.overrides)),
        train_counts=np.sum([part.train_counts for part in parts], axis=0),
        windows=_joined_windows([part.windows for part in parts]),
        predictions=_joined_predictions(parts),
        unit_levels=_joined_levels(parts),
        left_out={
            f"{number}/{case}": windows
            for number, part in enumerate(parts, 1)
            for case, windows in part.left_out.items()
        },
    )


def _require_equal_protocols(first: Result, second: Result) -> None:
    """Refuse evaluations by other protocols; parts that follow from the cases may differ."""
    words = [_OWN.sub("(own)", each.protocol).split("; ") for each in (first, second)]
    if words[0] != words[1]:
        pairs = zip_longest(*words, fillvalue="")
        one, other = next(pair for pair in pairs if pair[0] != pair[1])
        raise ConfigError(
            f"{first.folder} and {second.folder} cannot be joined as centers: their protocols "
            f"differ, {one!r} and {other!r}; evaluate both by one version with the same options"
        )


def _joined_protocol(protocols: Sequence[str]) -> str:
    """Return the common text, with the parts of each center where they differ."""
    own = zip(*(_OWN.findall(each) for each in protocols), strict=True)
    texts = [
        members[0]
        if len(set(members)) == 1
        else f"[{', '.join(f'center {n}: {each}' for n, each in enumerate(members, 1))}]"
        for members in own
    ]
    shared = _OWN.split(protocols[0])
    return "".join(piece for pair in zip(shared, [*texts, ""], strict=True) for piece in pair)


def _center_names(parts: Sequence[Result]) -> dict[str, str]:
    """Return the center of each case: `2`, or `2.1` if the second result has several."""
    found = {}
    for number, part in enumerate(parts, 1):
        inner = (part.unit_levels or {}).get(_CENTERS, {})
        several = len(set(inner.values())) > 1
        for case in {*part.windows.case_names, *part.left_out}:
            suffix = f".{inner[case] + 1}" if several else ""
            found[f"{number}/{case}"] = f"{number}{suffix}"
    return found


def _joined_windows(parts: Sequence[Windows]) -> Windows:
    return Windows(
        source=[f"{number}/{each}" for number, part in enumerate(parts, 1) for each in part.source],
        case=[each for part in parts for each in part.case],
        video=[each for part in parts for each in part.video],
        start_s=np.concatenate([part.start_s for part in parts]),
        end_s=np.concatenate([part.end_s for part in parts]),
        time_s=np.concatenate([part.time_s for part in parts]),
        has_label_times=all(part.has_label_times for part in parts),
        label=np.concatenate([part.label for part in parts]),
    )


def _joined_predictions(parts: Sequence[Result]) -> list[Predicted]:
    """Return each prediction over all centers."""
    # All centers must have made the same predictions.
    by_key = [{_key(each): each for each in part.predictions} for part in parts]
    for part, predicted in zip(parts, by_key, strict=True):
        if predicted.keys() != by_key[0].keys():
            one = min(predicted.keys() ^ by_key[0].keys())
            raise ConfigError(
                f"{parts[0].folder} and {part.folder} cannot be joined as centers: only one has "
                f"predictions of {one[1]} on {one[0]} features with the seeds {one[2]} and "
                f"{one[3]}; evaluate both with the same options"
            )

    found = []
    for key, first in by_key[0].items():
        members = [predicted[key] for predicted in by_key]
        probabilities = [each.probability for each in members if each.probability is not None]
        found.append(
            replace(
                first,
                value=np.concatenate([each.value for each in members]),
                probability=np.concatenate(probabilities)
                if len(probabilities) == len(members)
                else None,
            )
        )
    return found


def _key(predicted: Predicted) -> tuple[str, str, int, int]:
    return predicted.features, predicted.classifier, predicted.seed, predicted.head_seed


def _joined_levels(parts: Sequence[Result]) -> dict[str, dict[str, int]]:
    """Return center and patient of each case; centers within a result stay centers."""
    centers: dict[str, str] = {}
    patients: dict[str, str] = {}
    for number, part in enumerate(parts, 1):
        levels = part.unit_levels or {}
        for case in sorted(set(part.windows.case_names)):
            center = levels.get(_CENTERS, {}).get(case, 0)
            centers[f"{number}/{case}"] = f"{number:04d}/{center:06d}"
            known = levels.get(_PATIENTS)
            patients[f"{number}/{case}"] = f"{number}/{known[case] if known else case}"
    found = {}
    for name, groups in ((_CENTERS, centers), (_PATIENTS, patients)):
        indices = np.unique(list(groups.values()), return_inverse=True)[1]
        found[name] = dict(zip(groups, indices.tolist(), strict=True))
    return found

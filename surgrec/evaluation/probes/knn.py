"""Nearest neighbors. Nothing is trained, so nothing can be tuned to the test cases."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from jaxtyping import Float, Int64
from torch import Tensor

from surgrec.errors import ConfigError
from surgrec.evaluation.probes.probe import LabeledFeatures, ProbePredictions, WindowFeatures
from surgrec.evaluation.probes.standardize import standardized

_ROWS = 1024  # Test rows per matrix product: 0.4 GB with 100,000 train rows.


@dataclass(frozen=True, kw_only=True)
class Knn:
    """The class with most votes of the nearest train windows.

    Features are standardized on the train windows first. Otherwise the part that all windows share
    would dominate the cosine, and would differ between encoders for no reason.

    Source of the defaults: DINO (Caron et al. 2021, arXiv:2104.14294, section 4.1).
    """

    k: int = 20
    """Neighbors that vote."""
    temperature: float = 0.07
    """A neighbor of cosine similarity s votes with the weight exp(s / temperature)."""

    name = "knn"
    label = "kNN"
    issues = ()
    seeds = (0,)

    def fit_predict(
        self,
        train: LabeledFeatures,
        test: WindowFeatures,
        *,
        val: LabeledFeatures | None = None,
        seed: int = 0,
    ) -> ProbePredictions:
        """Return the class with most votes for each test window. It chooses nothing on `val`."""
        fitted, queries = standardized(train.values, test.values)
        votes = knn_scores(
            fitted,
            torch.from_numpy(train.label).to(fitted.device),
            queries,
            num_classes=train.num_classes,
            k=self.k,
            temperature=self.temperature,
        ).cpu()
        return ProbePredictions(
            label=np.asarray(votes.argmax(dim=1).numpy()),
            probability=np.asarray((votes / votes.sum(dim=1, keepdim=True)).numpy()),
        )

    def describe(self, chosen: Mapping[str, str]) -> str:
        """Return the part of the protocol that describes this probe."""
        return f"{self.label}: cosine similarity, k {self.k}, temperature {self.temperature:g}"


def knn_scores(
    train: Float[Tensor, "n d"],
    labels: Int64[Tensor, " n"],
    test: Float[Tensor, "m d"],
    *,
    num_classes: int,
    k: int = 20,
    temperature: float = 0.07,
) -> Float[Tensor, "m c"]:
    """Return the votes for each class from the nearest train features of each test feature.

    Args:
        train: Train features.
        labels: Their classes, in [0, num_classes).
        test: Features to classify.
        num_classes: Number of classes.
        k: Number of neighbors that vote; all of them if there are fewer.
        temperature: A neighbor of cosine similarity s votes with the weight exp(s / temperature).

    Raises:
        ConfigError: The train set is empty, or k or the temperature is not positive.

    Source: Wu et al. 2018 (arXiv:1805.01978, section 3.4); k 20 and temperature 0.07 as in DINO
    (arXiv:2104.14294).
    """
    scores = []
    for nearest, weights in knn_weights(train, test, k=k, temperature=temperature):
        votes = torch.zeros(len(weights), num_classes, dtype=test.dtype, device=test.device)
        scores.append(votes.scatter_add_(1, labels[nearest], weights))
    return torch.cat(scores)


def knn_means(
    train: Float[Tensor, "n d"],
    targets: Float[Tensor, "n t"],
    test: Float[Tensor, "m d"],
    *,
    k: int = 20,
    temperature: float = 0.07,
) -> Float[Tensor, "m t"]:
    """Return the weighted means of the targets of the nearest train features.

    Args:
        train: Train features.
        targets: Numbers of each train feature, such as 0 and 1 for classes.
        test: Features to predict.
        k: As for `knn_scores`.
        temperature: As for `knn_scores`.

    Raises:
        ConfigError: The train set is empty, or k or the temperature is not positive.
    """
    blocks = []
    for nearest, weights in knn_weights(train, test, k=k, temperature=temperature):
        sums = einsum(weights.to(targets), targets[nearest], "b k, b k t -> b t")
        blocks.append(sums / weights.to(targets).sum(1, keepdim=True))
    return torch.cat(blocks)


def knn_weights(
    train: Float[Tensor, "n d"], test: Float[Tensor, "m d"], *, k: int, temperature: float
) -> Iterator[tuple[Int64[Tensor, "b k"], Float[Tensor, "b k"]]]:
    """Yield the nearest train features of blocks of test features, and their weights.

    Args:
        train: Train features.
        test: Features to classify.
        k: Number of neighbors; all of them if there are fewer.
        temperature: As for `knn_scores`.

    Raises:
        ConfigError: The train set is empty, or k or the temperature is not positive.
    """
    if not len(train) or k < 1 or temperature <= 0:
        raise ConfigError(
            f"kNN has {len(train)} training features, k {k} and temperature {temperature}; "
            "give a positive number for each"
        )

    neighbors = F.normalize(train, dim=1)
    for rows in torch.split(F.normalize(test, dim=1), _ROWS):
        cosines = rows @ rearrange(neighbors, "n d -> d n")
        similarity, nearest = cosines.topk(min(k, len(train)), dim=1)
        yield nearest, (similarity / temperature).exp()

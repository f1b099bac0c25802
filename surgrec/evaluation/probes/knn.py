"""Nearest neighbors as a classifier: nothing is trained, so nothing can be tuned to the test cases."""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor

from surgrec.errors import ConfigError

_ROWS = 1024  # test rows compared at once: with 100,000 rows of training, 0.4 GB


def knn_scores(
    train: Float[Tensor, "n d"],
    labels: Int64[Tensor, " n"],
    test: Float[Tensor, "m d"],
    *,
    num_classes: int,
    k: int = 20,
    temperature: float = 0.07,
) -> Float[Tensor, "m c"]:
    """Votes for each class from the nearest training features of each test feature.

    Args:
        train: Training features.
        labels: Their classes, in [0, num_classes).
        test: Features to classify.
        num_classes: Number of classes.
        k: How many neighbors vote; all of them where there are fewer.
        temperature: A neighbor of cosine similarity s votes with the weight exp(s / temperature).

    Raises:
        ConfigError: There is no training feature, or k or the temperature is not positive.

    Source: Wu et al. 2018 (arXiv:1805.01978, section 3.4); k 20 and temperature 0.07 as in DINO (arXiv:2104.14294).
    """
    if not len(train) or k < 1 or temperature <= 0:
        raise ConfigError(
            f"{len(train)} training features, k {k} and temperature {temperature} must all be positive for neighbors to vote"
        )
    neighbors = F.normalize(train, dim=1)
    scores = []
    for rows in torch.split(F.normalize(test, dim=1), _ROWS):
        similarity, nearest = (rows @ rearrange(neighbors, "n d -> d n")).topk(
            min(k, len(train)), dim=1
        )
        votes = torch.zeros(len(rows), num_classes, dtype=rows.dtype, device=rows.device)
        scores.append(votes.scatter_add_(1, labels[nearest], (similarity / temperature).exp()))
    return torch.cat(scores)

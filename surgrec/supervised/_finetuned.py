"""An encoder with a head, to train together: trained blocks, layer decay, stochastic depth."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from jaxtyping import Float
from timm.layers.drop import drop_path
from torch import Tensor, nn

from surgrec.errors import ConfigError
from surgrec.features import VideoEncoder
from surgrec.models.classifier import Classifier, PoolerConfig

_Output: TypeAlias = Tensor | tuple[Tensor, ...]
"""Of a block."""


class FinetunedEncoder(nn.Module):
    """The network of an encoder, and a classifier on its tokens.

    Weights that do not enter the tokens stay as they are, such as the norm of an encoder's own
    pooling: they have no gradient, and DDP waits for one of each trained weight.

    Args:
        encoder: The encoder; its weights are changed.
        pooler: The way from tokens to one vector per clip.
        num_classes: Outputs.
        seed: Seed of the classifier's weights.
        last_blocks: Number of blocks that are trained, from the output back; None trains the whole
            encoder.
        drop_path: Largest share of clips that skip a block in training; it grows from 0 at the
            first block.

    Raises:
        ConfigError: The encoder has fewer blocks, does not name them, or has no weights that a
            gradient reaches; or a block cannot be skipped.
    """

    def __init__(
        self,
        encoder: VideoEncoder,
        pooler: PoolerConfig,
        *,
        num_classes: int,
        seed: int,
        last_blocks: int | None,
        drop_path: float,
    ) -> None:
        super().__init__()
        self.network = encoder.network
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.classifier = Classifier(pooler, width=encoder.width, num_classes=num_classes)
        self._encoder = encoder
        self._blocks = _known_blocks(encoder, last_blocks, drop_path)

        self.layer_of = _layers(self.network, self._blocks)
        first = 0 if last_blocks is None else len(self._blocks) - last_blocks + 1
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad = self.layer_of[name] >= first

        last = max(1, len(self._blocks) - 1)
        for number, block in enumerate(self._blocks):
            if drop_path:
                block.register_forward_hook(_StochasticDepth(drop_path * number / last, self))
        _freeze_unused(encoder)

    @property
    def num_blocks(self) -> int:
        """Known blocks of the encoder."""
        return len(self._blocks)

    @property
    def num_layers(self) -> int:
        """Layers of the decay: the embedding, the blocks, and all behind them."""
        return self.num_blocks + 2

    @property
    def name(self) -> str:
        """Name of the encoder."""
        return str(self._encoder.facts["name"])

    def train(self, mode: bool = True) -> "FinetunedEncoder":
        """Set the mode of the classifier and of stochastic depth.

        The network keeps its evaluation mode: published encoders fine-tune without dropout.
        """
        super().train(mode)
        self.network.eval()
        return self

    def forward(self, clips: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b k"]:
        """Return the logits of each clip."""
        logits: Float[Tensor, "b k"] = self.classifier(self._encoder.tokens(clips))
        return logits


class _StochasticDepth:
    """A hook that lets some clips of a batch skip a block (arXiv:1603.09382)."""

    def __init__(self, share: float, model: "FinetunedEncoder") -> None:
        self._share = share
        self._model = [model]  # in a list, or it would become a module of itself

    def __call__(self, block: nn.Module, inputs: tuple[Any, ...], output: _Output) -> _Output:
        after = output if isinstance(output, tuple) else (output,)
        before: tuple[Tensor, ...] = inputs[: len(after)]
        if [each.shape for each in before] != [each.shape for each in after]:
            raise ConfigError(
                f"drop_path is above 0, but a block of {self._model[0].name} changes the shape of "
                "its input, so that no clip can skip it; give 0"
            )
        if not self._model[0].training:
            return output

        # A clip skips the block with all its tokens, the class token as well.
        ones = before[0].new_ones(len(before[0]), *[1] * (before[0].ndim - 1))
        factors = drop_path(ones, self._share, training=True)
        skipped = tuple(
            old + (new - old) * factors.view(-1, *[1] * (new.ndim - 1))
            for old, new in zip(before, after, strict=True)
        )
        return skipped if isinstance(output, tuple) else skipped[0]


def parameter_groups(
    model: FinetunedEncoder, *, lr: float, weight_decay: float, layer_decay: float
) -> list[dict[str, Any]]:
    """Return groups of AdamW with a smaller learning rate for earlier layers.

    The classifier and all behind the blocks have `lr`, and each layer before it `layer_decay` times
    the rate of the next one (BEiT, arXiv:2106.08254). Biases and norms are not decayed.

    Args:
        model: The model.
        lr: Learning rate of the last layer.
        weight_decay: Weight decay of matrices.
        layer_decay: Factor from one layer to the one before.

    Raises:
        ConfigError: The decay is below 1, and the blocks of the encoder are not known.
    """
    if layer_decay < 1 and not model.num_blocks:
        raise ConfigError(
            f"layer_decay is {layer_decay:g}, but the blocks of {model.name} are not known; give 1"
        )

    # Biases and norms, which have one axis, have no weight decay.
    last = model.num_layers - 1
    layers = {f"network.{name}": layer for name, layer in model.layer_of.items()}
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        layer, decayed = layers.get(name, last), parameter.ndim > 1
        peak = lr * layer_decay ** (last - layer)
        group = groups.setdefault(
            (layer, decayed),
            {
                "params": [],
                "lr": peak,
                "peak_lr": peak,
                "weight_decay": weight_decay if decayed else 0.0,
            },
        )
        group["params"].append(parameter)

    return [groups[key] for key in sorted(groups)]


def _known_blocks(
    encoder: VideoEncoder, last_blocks: int | None, drop_path: float
) -> Sequence[nn.Module]:
    blocks = list(encoder.blocks)
    if last_blocks is not None and last_blocks > len(blocks):
        raise ConfigError(
            f"last_blocks is {last_blocks}, but {encoder.facts['name']} has {len(blocks)} known "
            "blocks; give a smaller number"
        )
    if drop_path and not blocks:
        raise ConfigError(
            f"drop_path is {drop_path:g}, but the blocks of {encoder.facts['name']} are not known; "
            "give 0"
        )
    return blocks


def _layers(network: nn.Module, blocks: Sequence[nn.Module]) -> dict[str, int]:
    """Return the layer of each parameter by its place: 0 is all before the first block.

    What lies between two blocks, such as the downsampling of a stage, has the layer of the later
    one. What follows the last block has the last layer. Networks register their parts in the order
    in which they use them.
    """
    number_of = {
        id(parameter): number
        for number, block in enumerate(blocks, start=1)
        for parameter in block.parameters()
    }
    layers, passed = {}, 0
    for name, parameter in network.named_parameters():
        passed = max(passed, number_of.get(id(parameter), 0))
        between = passed + 1 if passed else 0
        layers[name] = number_of.get(id(parameter), between)
    return layers


def _freeze_unused(encoder: VideoEncoder) -> None:
    """Exclude the weights of an encoder from training that do not enter its tokens."""
    trained = [each for each in encoder.network.parameters() if each.requires_grad]
    used = _used_parameters(encoder, trained[0].device) if trained else set()
    if not used:
        raise ConfigError(
            f"no gradient reaches a weight of {encoder.facts['name']}, so it cannot be fine-tuned; "
            "use recipes/probe.py"
        )
    for parameter in trained:
        parameter.requires_grad = id(parameter) in used


def _used_parameters(encoder: VideoEncoder, device: torch.device) -> set[int]:
    """Return the ids of the parameters in the graph of the tokens, as DDP finds them.

    One clip passes the encoder. Its activations are not kept, since no gradient is computed.
    """
    frames, side = encoder.sampling.num_frames, encoder.preprocessing.size_px
    clip = torch.zeros(1, 3, frames, side, side, device=device)
    with (
        torch.enable_grad(),
        torch.autograd.graph.saved_tensors_hooks(lambda _: None, lambda _: torch.empty(0)),
    ):
        root = encoder.tokens(clip).grad_fn

    used: set[int] = set()
    seen, waiting = {root}, [root] if root else []
    while waiting:
        node: Any = waiting.pop()
        if hasattr(node, "variable"):  # where a gradient is added to a parameter
            used.add(id(node.variable))
        new = {each for each, _ in node.next_functions if each is not None} - seen
        seen |= new
        waiting += new
    return used

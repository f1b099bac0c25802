"""Probes on the tokens of a frozen encoder: attentive as in V-JEPA 1 and 2, or linear.

    accelerate launch --quiet recipes/probe.py --config probe_vjepa2 --corpus s3://b/corpus \
        --encoder runs/a --task phase --split split.yaml --out probes/a
    accelerate launch --quiet --cpu recipes/probe.py --config probe_tiny --corpus CORPUS \
        --encoder RUN --task phase --split split.yaml --out OUT
    accelerate launch --quiet -m surgrec.recipes.probe ...                   # after pip install

A grid of heads, one per learning rate, weight decay and seed, trains in one pass over the train
windows. The setting is chosen on the val cases of the split, or on folds of train cases. Its heads
then predict the test windows. `--few_shot "[1, 3, 10%]"` adds heads on few train cases. The same
happens to encoders with random weights. The results are the files of `surgrec evaluate`. It runs on
1, 2, 4 or 8 processes; on CPUs all give the same bits.

After a kill, the same command with `--resume true` continues. Methods: V-JEPA (Bardes et al. 2024,
arXiv:2404.08471) and V-JEPA 2 (Assran et al. 2025, arXiv:2506.09985).
"""

import torch

from surgrec.evaluation import print_evaluation
from surgrec.supervised import (
    PartGradients,
    TokenProbe,
    TokenProbeConfig,
    build_heads_optimizer,
    set_heads_step,
    window_losses,
)
from surgrec.training import run_recipe
from surgrec.training.session import Session


def main(config: TokenProbeConfig) -> None:
    """Train the heads of each encoder, predict, and write the results."""
    session = Session.connect(config.out, precision=config.precision)
    probe = TokenProbe.open(config, session)  # the audit refuses before anything is computed
    targets = probe.task.targets
    schedule = config.rate_share(len(targets.values))

    # The trained encoder first, then the same with random weights; on all cases, then on few.
    for stage in probe.stages():
        heads = stage.new_heads()
        optimizer = build_heads_optimizer(heads)
        stage.training.restore(heads, optimizer)
        gradients = PartGradients(list(heads.heads), session.gather)

        for step in stage.training.steps():
            set_heads_step(optimizer, schedule, step)

            # The encoder sees each clip once; every head learns from its tokens.
            total = torch.zeros((), device=session.device)
            for part in stage.parts(step):
                windows = part.windows.to(session.device)
                tokens = stage.tokens(part.clips)
                for head, weight in zip(heads.heads, stage.weights, strict=True):
                    with session.autocast():
                        outputs = head(tokens)
                    losses = window_losses(outputs, targets, part.windows)
                    loss = (losses * weight[windows]).sum() / config.global_batch
                    loss.backward()
                    total += loss.detach()
                gradients.add_part()

            # All ranks add the gradients of all parts in the same order.
            gradients.reduce()
            optimizer.step()
            optimizer.zero_grad()
            stage.training.after_step(step, total / len(heads.heads))

        if stage.training.stopped:
            return
        stage.predict(heads)  # chosen on held-out cases, never on test cases

    record = probe.write()
    if session.is_main:
        print_evaluation(record)


if __name__ == "__main__":
    run_recipe(__file__, TokenProbeConfig, main)

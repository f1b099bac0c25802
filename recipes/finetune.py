"""Fine-tuning of an encoder on labeled windows: the whole encoder, or its last blocks.

    accelerate launch --quiet recipes/finetune.py --config finetune_vitb16 --corpus s3://b/corpus \
        --encoder runs/a --task phase --split split.yaml --out finetuned/a
    accelerate launch --quiet --cpu recipes/finetune.py --config finetune_tiny --corpus CORPUS \
        --encoder RUN --task phase --split split.yaml --out OUT
    accelerate launch --quiet -m surgrec.recipes.finetune ...                # after pip install

The weights after the last step predict the test windows; nothing is chosen. The same training from
random weights is beside it. The results are the files of `surgrec evaluate`. It runs on 1, 2, 4 or
8 processes. After a kill, the same command with `--resume true` continues.

Method: layer decay (BEiT, Bao et al. 2021, arXiv:2106.08254), stochastic depth, mixup and CutMix,
as in the fine-tuning of VideoMAE (Tong et al. 2022, arXiv:2203.12602).
"""

import torch
from torch import nn

from surgrec.evaluation import print_evaluation
from surgrec.supervised import (
    FinetuneConfig,
    Finetuning,
    parameter_groups,
    set_heads_step,
    soft_losses,
)
from surgrec.training import run_recipe
from surgrec.training.session import Session, skip_unless_finite


def main(config: FinetuneConfig) -> None:
    """Train a model from each encoder, predict, and write the results."""
    session = Session.connect(config.out, precision=config.precision)
    finetuning = Finetuning.open(config, session)  # the audit refuses before anything is computed
    schedule = config.rate_share(len(finetuning.task.targets.values))

    # Trained weights first, then the same training from random ones.
    for stage in finetuning.stages():
        model = stage.new_model()
        groups = parameter_groups(
            model, lr=config.lr, weight_decay=config.weight_decay, layer_decay=config.layer_decay
        )
        optimizer = torch.optim.AdamW(groups, fused=True)
        stage.training.restore(model, optimizer)
        wrapped = session.wrap(model)

        for step in stage.training.steps():
            set_heads_step(optimizer, schedule, step)
            wrapped.train()

            # One part of the batch after the other; DDP averages over the ranks in the last one.
            total = torch.zeros((), device=session.device)
            for part, key, exchange in stage.parts(step, wrapped):
                clips, wanted = stage.mixed(part, key)
                with exchange:
                    with session.autocast():
                        losses = soft_losses(wrapped(clips), wanted)
                    loss = losses.sum() * (session.num_ranks / config.global_batch)
                    loss.backward()  # type: ignore[no-untyped-call]
                total += loss.detach() / session.num_ranks

            limit = float("inf") if config.grad_clip is None else config.grad_clip
            norm = nn.utils.clip_grad_norm_(model.parameters(), limit)
            skip_unless_finite(optimizer, norm)
            optimizer.step()
            optimizer.zero_grad()
            stage.training.after_step(step, total)

        if stage.training.stopped:
            return
        stage.predict(model)

    record = finetuning.write()
    if session.is_main:
        print_evaluation(record)


if __name__ == "__main__":
    run_recipe(__file__, FinetuneConfig, main)

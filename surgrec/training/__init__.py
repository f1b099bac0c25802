"""What every recipe shares and no method owns: schedules, optimizer, EMA, checkpoints, metrics, diagnostics. No Trainer class."""

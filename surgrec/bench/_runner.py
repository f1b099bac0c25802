"""Run the steps of a benchmark in order; those that are finished are kept."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from surgrec.bench._audit_files import AuditFile, fails
from surgrec.bench._process import Commands, log_path
from surgrec.bench._records import Records, StepRecord
from surgrec.bench._steps import Step
from surgrec.errors import ConfigError
from surgrec.json_files import read_json

State = Literal["kept", "done", "failed", "not run"]
Tell = Callable[[Step, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a step ended in this run of the benchmark."""

    step: Step
    state: State
    """`kept`: an earlier run finished it. `not run`: a step that it needs failed."""
    status: int = 0
    """Exit status of its command."""
    sentence: str = ""
    """Why it failed or was not run."""
    outputs_digest: str = ""

    @property
    def is_done(self) -> bool:
        """Return whether the outputs are complete."""
        return self.state in ("kept", "done")


@dataclass(kw_only=True)
class Runner:
    """Runs steps, and remembers how each ended."""

    out: Path
    """Folder of the benchmark."""
    commands: Commands
    tell: Tell
    """Called before a command starts, with the step, its number and the number of steps."""
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    """By the name of the step."""

    def run(self, steps: Sequence[Step]) -> None:
        """Run steps in the given order. A failed step costs only the steps that need it."""
        for number, step in enumerate(steps, start=1):
            outcome = self._kept_or_blocked(step)
            if outcome is None:
                self.tell(step, number, len(steps))
                outcome = self._ended(step, *self.commands.run(step, self.out))
            self.outcomes[step.name] = outcome

    def _kept_or_blocked(self, step: Step) -> Outcome | None:
        """Return the outcome of a step whose command needs not or cannot run."""
        blocked = [self.outcomes[name] for name in step.needs if not self.outcomes[name].is_done]
        if blocked:
            return Outcome(step=step, state="not run", sentence=_why_blocked(blocked[0]))
        record = Records(self.out).finished(step, self._digest(step))
        return None if record is None else _outcome(step, "kept", record)

    def _ended(self, step: Step, status: int, message: str) -> Outcome:
        """Write the record of a step whose command has ended.

        Args:
            step: The step.
            status: Exit status of the command.
            message: The last message of its log.
        """
        missing = [name for name in step.written if not (self.out / name).exists()]
        sentence = ""
        prints = self.out / step.prints
        if status not in step.accepted or (prints.is_file() and not prints.stat().st_size):
            sentence = failure_sentence(step, self.out, message)
        elif missing:
            sentence = f"it did not write {missing[0]}; see {log_path(self.out, step)}"
        if status < 0:
            sentence = f"its process was ended by signal {-status}; see {log_path(self.out, step)}"
        record = Records(self.out).write(step, self._digest(step), status, sentence)
        return _outcome(step, "failed" if sentence else "done", record)

    def _digest(self, step: Step) -> str:
        return step.digest({name: self.outcomes[name].outputs_digest for name in step.needs})


def pending(steps: Sequence[Step], out: Path) -> set[str]:
    """Return the names of the steps that a run would start. Nothing is run."""
    digests: dict[str, str] = {}
    waiting = set()
    for step in steps:
        record = None
        if all(name in digests for name in step.needs):
            record = Records(out).finished(step, step.digest(_only(digests, step.needs)))
        if record is None:
            waiting.add(step.name)
        else:
            digests[step.name] = record.outputs_digest
    return waiting


def failure_sentence(step: Step, out: Path, message: str) -> str:
    """Return why a step failed: the findings of an audit, or else the last message of its log."""
    if step.kind == "audit" and (out / step.prints).is_file():
        with suppress(ConfigError):  # the audit ended before it printed anything
            audit = read_json(out / step.prints, AuditFile, error=ConfigError, remedy="")
            failed = [each["sentence"] for each in audit["findings"] if fails(each)]
            if failed:
                return f"the audit refuses the split: {'; '.join(failed)}"
    return message or f"it failed without a message; see {log_path(out, step)}"


def require_new_names(steps: Sequence[Step]) -> None:
    """Refuse steps of one name, whose records would replace each other.

    Raises:
        ConfigError: Two steps have one name.
    """
    names = [step.name for step in steps]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"the benchmark has the step {twice[0]} twice; give each name once")


def _only(digests: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    return {name: digests[name] for name in names}


def _why_blocked(needed: Outcome) -> str:
    if needed.state == "failed":
        return f"{needed.step.name} failed: {needed.sentence}"
    return needed.sentence


def _outcome(step: Step, state: State, record: StepRecord) -> Outcome:
    return Outcome(
        step=step,
        state=state,
        status=record.status,
        sentence=record.sentence,
        outputs_digest=record.outputs_digest,
    )

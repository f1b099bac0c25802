"""Run the steps of a benchmark on a cluster: each as soon as the steps that it needs are done."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue

from surgrec.bench._runner import Runner
from surgrec.bench._step_cluster import CommandEnd, StepCluster
from surgrec.bench._steps import Step


@dataclass(kw_only=True)
class ClusterRunner(Runner):
    """Runs independent steps at once. Records and outcomes are those of a `Runner`."""

    cluster: StepCluster
    _running: dict[str, Step] = field(default_factory=dict)
    _ends: "SimpleQueue[tuple[Step, Future[CommandEnd]]]" = field(default_factory=SimpleQueue)

    def run(self, steps: Sequence[Step]) -> None:
        """Run steps that are given in an order in which they could run one after the other.

        A step starts when those that it needs are done, and no other one holds its locks.

        Raises:
            SetupError: A machine of the cluster lacks something.
            MachineError: The machines of a step were lost again and again.
        """
        numbers = {step.name: number for number, step in enumerate(steps, start=1)}
        waiting = list(steps)
        while waiting or self._running:
            waiting = [step for step in waiting if not self._settle(step, numbers)]
            assert self._running or not waiting, "a step needs one that comes before it"
            if self._running:
                step, future = self._ends.get()
                status, message = future.result()
                del self._running[step.name]
                self.outcomes[step.name] = self._ended(step, status, message)

        # Readers see the order of the steps, not that of their ends.
        for step in steps:
            self.outcomes[step.name] = self.outcomes.pop(step.name)

    def _settle(self, step: Step, numbers: dict[str, int]) -> bool:
        """Keep, block or start a step. Return whether it has to wait no longer."""
        if not self._is_ready(step):
            return False
        outcome = self._kept_or_blocked(step)
        if outcome is not None:
            self.outcomes[step.name] = outcome
            return True
        self.tell(step, numbers[step.name], len(numbers))
        self._running[step.name] = step
        future = self.cluster.start(step, self.out)
        future.add_done_callback(partial(self._put, step))
        return True

    def _is_ready(self, step: Step) -> bool:
        held = {lock for each in self._running.values() for lock in each.locks}
        return held.isdisjoint(step.locks) and all(name in self.outcomes for name in step.needs)

    def _put(self, step: Step, future: "Future[CommandEnd]") -> None:
        self._ends.put((step, future))

"""A failed task once more with another seed: a task of its own, derived and not drawn. Pure."""

from dataclasses import replace

from batchgen import templates
from batchgen.derived import derived_seed
from batchgen.errors import UsageError
from batchgen.job import Job
from batchgen.task import Task, task_id


def with_another_seed(job: Job, task: Task, number: int) -> Task:
    """Return the task with a new seed, the same one for the same task and number.

    Args:
        job: The job, whose salt and provider count.
        task: The task that is replaced; all but its seed and what follows from it stays.
        number: Which of its replacements, from 1.

    Raises:
        UsageError: It sends no seed that could be another.
    """
    if "seed" not in task.params:
        raise UsageError(
            f"--new-seed: task {task.task_id} sends no seed, so the same request would be made "
            "again; leave the option out"
        )
    params = {**task.params, "seed": derived_seed(job.salt, "new seed", task.task_id, number)}
    # The prompt may name its seed.
    params["prompt"] = templates.fill(task.prompt_template, {**params, **task.variables})
    return replace(task, task_id=task_id(job.provider.kind, params, task.repeat), params=params)

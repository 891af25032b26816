"""The control of failing polls: a generation that is known to be done is asked about beside them.

Where it is answered, the provider is well, and what fails is those generations' own.
"""

from batchgen.outcomes import Trouble
from batchgen.policy import Phase
from batchgen.run.means import Means


async def ask_control(means: Means) -> None:
    """Ask about the control, where there is one and it is due."""
    control = means.control
    if not control.is_due(means.clock.monotonic()):
        return
    if control.generation is None:
        control.generation = await means.ledger.latest_done(means.base_url)
    if control.generation is None:
        return
    await means.traffic.poll()
    async with means.traffic.questions:
        outcome = await means.provider.fetch(*control.generation)
    means.heard(Phase.FETCH, outcome)
    well = not isinstance(outcome, Trouble)
    control.answered(means.clock.monotonic(), well=well)
    if well:
        means.traffic.polled()

"""What a run leaves for readers: manifest and page, in one pass over its ledger, and a card."""

from contextlib import closing

from batchgen.job import Job
from batchgen.ledger.ledger import Ledger
from batchgen.report.card import write_card
from batchgen.report.gallery import write_gallery
from batchgen.report.manifest import written_rows
from batchgen.report.picks import Maker


def write_reports(job: Job, ledger: Ledger) -> None:
    """Replace the manifest, the page and the dataset card. Blocks.

    Raises:
        OSError: They cannot be written; the old ones stay.
    """
    with closing(written_rows(job, ledger)) as rows:
        write_gallery(
            ledger.directory.path / "index.html",
            rows,
            title=job.name,
            axes=[axis.name for axis in (*job.matrix, *job.zip)],
            subtitle=f"at {job.provider.kind}",
            maker=Maker.of(job),
        )
    write_card(ledger.directory.path, job.name)

"""``gradlab show``: what an archive holds and what it found."""

from __future__ import annotations

from gradlab.cli.options import Archive, Json


def show(archive: Archive, as_json: Json = False) -> None:
    """Show an archive: its question, axes, records, findings, failures and provenance.

    For example:
      gradlab show results/spectral-sweep
      gradlab show results/spectral-sweep --json
    """
    from gradlab.cli.contents import archive_lines, archive_table
    from gradlab.cli.terminal import say, say_json

    table = archive_table(archive)
    if as_json:
        say_json(table)
    else:
        say(*archive_lines(table))

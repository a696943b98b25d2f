"""``gradlab plan``: what a spec comes to, without running it."""

from __future__ import annotations

from gradlab.cli.options import Json, Memory, Settings, SpecFile, Workers


def plan(
    spec: SpecFile,
    settings: Settings = None,
    workers: Workers = None,
    memory: Memory = None,
    as_json: Json = False,
) -> None:
    """Show axes, cases, shared work, memory, disk and time of a spec; run nothing.

    The time is estimated from a short calibration on this machine.

    For example:
      gradlab plan experiments/spectral-sweep.toml
      gradlab plan mine.toml --set replicates=100 --workers 2
    """
    from gradlab.cli.planning import plan_lines, plan_table
    from gradlab.cli.specs import read_spec
    from gradlab.cli.terminal import say, say_json

    table = plan_table(read_spec(spec, settings or []), workers, memory)
    if as_json:
        say_json(table)
    else:
        say(*plan_lines(table))

"""Both tables of the performance section: `python -m tests.benchmarks [--quick]`.

Needs the `bench` extra, and two cores with nothing else running on them.
"""

from __future__ import annotations

import argparse

from tests.benchmarks import kernels, sweep


def main() -> None:
    parser = argparse.ArgumentParser(description="The kernel table and the sweep table.")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    passed = ["--quick"] if parser.parse_args().quick else []
    kernels.main(passed)
    print()
    sweep.main(passed)


if __name__ == "__main__":
    main()

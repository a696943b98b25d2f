"""One plan, and what one process makes of it."""

import pytest
from runs import plan_of, run


@pytest.fixture(scope="module")
def plan():
    return plan_of()


@pytest.fixture(scope="module")
def reference(plan):
    return run(plan)[0].arrays

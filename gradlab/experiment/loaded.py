"""To import this is to load what a worker needs: so the process is told that workers are forked of."""

from __future__ import annotations

import gc

from gradlab.experiment import startup

gc.disable()  # there is nothing to find while all is new
startup.load()
gc.freeze()  # a collection in a worker would copy the pages of all that it looks at
gc.enable()

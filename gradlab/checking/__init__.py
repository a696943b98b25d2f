"""Anyone can check: verify an archive, compute a part of it again, compare two."""

from gradlab.checking.comparison import Difference, diff
from gradlab.checking.verification import Verification, verify

__all__ = ["Difference", "Verification", "diff", "verify"]

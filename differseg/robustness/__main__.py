"""``python -m differseg.robustness`` is ``differseg robustness``."""

import sys

from differseg.options import run_main
from differseg.robustness.command import main

sys.exit(run_main(main))

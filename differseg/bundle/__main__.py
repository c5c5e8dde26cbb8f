"""``python -m differseg.bundle``: the same command line, where nothing else is installed."""

import sys

from differseg.bundle.command import main
from differseg.options import run_main

sys.exit(run_main(main))

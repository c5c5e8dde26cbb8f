"""What a sample of a board costs: processor time of BoardMonitor on a tree of an Orin Nano.

python benchmarks/board_monitor.py

The tree is of ordinary files in memory (38 files that are read); a board's own sensors answer more
slowly, but their bus is waited for, not computed.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/runtime/power"))

from fake_boards import orin_nano

from differseg.runtime.power.board import SysfsBoard
from differseg.runtime.power.monitor import BoardMonitor

SAMPLES = 2000


def main() -> None:
    """Print the cost of a sample, of a look-up of the files, and of a monitor that runs."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        orin_nano(Path(folder))
        monitor = BoardMonitor(SysfsBoard(Path(folder)))
        monitor.sample(0.0)
        begin_s = time.thread_time()
        for _ in range(SAMPLES):
            monitor.sample(1.0)
        sample_s = (time.thread_time() - begin_s) / SAMPLES
        begin_s = time.thread_time()
        for _ in range(20):
            SysfsBoard(Path(folder)).close()
        scan_s = (time.thread_time() - begin_s) / 20
        monitor.close()
        with BoardMonitor(SysfsBoard(Path(folder))) as running:
            time.sleep(20.5)
            share = running.summary().monitor_core_fraction
        print(f"one sample: {1e6 * sample_s:.0f} us, {100 * sample_s:.3f} % of a core at 1 Hz")
        print(f"looking up the files: {1e3 * scan_s:.1f} ms, once a minute")
        if share is not None:
            print(f"a monitor that ran for 20 s: {100 * share:.3f} % of a core")


if __name__ == "__main__":
    main()

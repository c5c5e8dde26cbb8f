"""What lies in a run's folder, and whether a command may go on in it.

``config.json`` (what was asked for), ``environment.json`` (one entry per start: versions, device,
threads, commit), ``metrics.jsonl`` and ``metrics.csv`` (one line per epoch), ``steps.csv`` (one
line per step), ``last.pt`` (snapshot), ``best.safetensors`` (averaged weights of the best epoch),
``pictures/epoch_003.jpg``, ``tensorboard/`` where it is asked for, and ``run.lock``.  Drawn
synthetic scenes may lie beside them and are kept by a restart, as is every file of another name.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from differseg.errors import InputError
from differseg.training.environment import describe_environment
from differseg.training.run_lock import run_lock
from differseg.training.snapshot import PARTIAL_SUFFIX, write_atomically
from differseg.training.tables import epochs_table

NOTES = "notes"
"""Entry of ``config.json`` that informs a person and plays no part in going on with a run."""

_EVENTS = "events.out.tfevents.*"
_PICTURE = re.compile(r"epoch_\d{3,}\.jpg")


class RunFolder:
    """Paths and small files of one run.

    Args:
        path: The folder; made when it does not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.json"
        self.environment = path / "environment.json"
        self.metrics = path / "metrics.jsonl"
        self.table = path / "metrics.csv"
        self.steps = path / "steps.csv"
        self.events = path / "tensorboard"
        self.snapshot = path / "last.pt"
        self.best = path / "best.safetensors"
        self.pictures = path / "pictures"
        self._lock = path / "run.lock"

    def find(self, config: dict[str, Any], restart: bool = False) -> bool:
        """Look for a run to go on with; nothing is written.

        Args:
            config: What defines the run, as plain JSON values; ``notes`` in it are not compared.
            restart: Do not go on with what is there, whatever its configuration.

        Returns:
            True where a snapshot of the same run is there and may be used.

        Raises:
            InputError: The folder holds a run with another configuration (the fields are named),
                results of a run without its snapshot, or files that no run wrote.
        """
        with self._system_errors("read"):
            if self.path.exists() and not self.path.is_dir():
                raise InputError(f"--out {self.path}: this is a file; give a folder")
            # what a kill may leave of a run that did not come to its first file
            bare = {self._lock, self.config.with_name(self.config.name + PARTIAL_SUFFIX)}
            if not self.path.exists() or bare.issuperset(self.path.iterdir()):
                return False
            earlier = self._read_config()
            if restart:
                return False
            if not self.snapshot.exists():
                self._require_no_results()
                return False
        self._compare(earlier, config)
        return True

    @contextmanager
    def locked(self) -> Iterator[bool]:
        """Make the folder and keep other runs out of it inside the block.

        Yields:
            Whether others are kept out; False where the file system has no locks.

        Raises:
            InputError: Another run is at work here, or the folder cannot be written.
        """
        with contextlib.ExitStack() as stack:
            with self._system_errors("written"):
                self.path.mkdir(parents=True, exist_ok=True)
                locked = stack.enter_context(run_lock(self._lock))
            yield locked

    def begin(self, config: dict[str, Any]) -> None:
        """Make the folder ready for a new run; what an earlier run wrote there is deleted.

        Raises:
            InputError: The folder cannot be written.
        """
        with self._system_errors("written"):
            for file in (
                self.snapshot, self.best, self.metrics, self.table, self.steps, self.environment,
                *self._pictures(), *self.events.glob(_EVENTS),
            ):  # fmt: skip
                file.unlink(missing_ok=True)
            self._write_json(self.config, config)  # last: by it the folder is known as a run's

    def tidy(self) -> None:
        """Remove what a kill may have left half done, and make the folder of pictures.

        Raises:
            InputError: The folder cannot be written.
        """
        with self._system_errors("written"):
            self.pictures.mkdir(exist_ok=True)
            for file in (
                self.config, self.environment, self.metrics, self.table, self.steps, self.snapshot
            ):  # fmt: skip
                file.with_name(file.name + PARTIAL_SUFFIX).unlink(missing_ok=True)
            for leftover in self.path.glob(f".{self.best.name}.*.tmp"):
                leftover.unlink()

    def add_start(self, entry: dict[str, Any]) -> None:
        """Add this start's environment to ``environment.json``.

        Raises:
            InputError: The file cannot be read or written.
        """
        starts: Any = []
        if self.environment.exists():
            starts = self._read_json(self.environment).get("starts")
            if not isinstance(starts, list):
                raise InputError(f"{self.environment}: not written by a run; move it away")
        document = {"starts": [*starts, {**describe_environment(), **entry}]}
        self._write_json(self.environment, document)

    def write_metrics(self, history: list[dict[str, Any]]) -> None:
        """Write one line per epoch; whole each time, so that a resumed run has no double lines."""
        text = "".join(json.dumps(line) + "\n" for line in history)
        write_atomically(self.metrics, lambda file: file.write(text.encode()))
        table = epochs_table(history)
        write_atomically(self.table, lambda file: file.write(table.encode()))

    def picture(self, epoch: int) -> Path:
        """Return the path of an epoch's picture grid (epochs count from 1, 0 is the start)."""
        return self.pictures / f"epoch_{epoch:03d}.jpg"

    def _pictures(self) -> list[Path]:
        if not self.pictures.is_dir():
            return []
        return [path for path in self.pictures.iterdir() if _PICTURE.fullmatch(path.name)]

    def _read_config(self) -> dict[str, Any]:
        """Return ``config.json`` of a run, or say that there is none in a folder in use."""
        if not self.config.exists():
            raise InputError(
                f"--out {self.path}: the folder holds files but no run (no config.json); "
                "give a new folder, or empty this one"
            )
        config = self._read_json(self.config)
        samples = config.get("samples")
        if not isinstance(samples, dict) or "names_sha256" not in samples:
            raise InputError(
                f"{self.config}: not written by a run of differseg; give another folder for "
                "--out, or move the file away"
            )
        return config

    def _require_no_results(self) -> None:
        results = [file for file in (self.best, self.metrics) if file.exists()] + self._pictures()
        if results:
            raise InputError(
                f"--out {self.path}: results of a run are here ({results[0].name}) but no snapshot "
                "(last.pt) to go on from; give another folder, or delete them with --restart"
            )

    def _compare(self, earlier: dict[str, Any], config: dict[str, Any]) -> None:
        now = json.loads(json.dumps(config))
        different = [
            f"{name} (was {earlier.get(name)!r}, now {now.get(name)!r})"
            for name in sorted({*earlier, *now} - {NOTES})
            if earlier.get(name) != now.get(name)
        ]
        if different:
            raise InputError(
                f"--out {self.path}: a run with another configuration is here: "
                f"{', '.join(different)}; repeat its command to resume it, give another folder, "
                "or delete it with --restart"
            )

    @contextmanager
    def _system_errors(self, done: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError(
                f"--out {self.path}: cannot be {done} ({error.strerror or error}); give a folder "
                "that you may write to"
            ) from None

    @staticmethod
    def _read_json(path: Path) -> dict[str, Any]:
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(
                f"{path}: not readable ({error}); move it away or give another folder for --out"
            ) from None
        return document if isinstance(document, dict) else {}

    @staticmethod
    def _write_json(path: Path, document: dict[str, Any]) -> None:
        text = json.dumps(document, indent=2) + "\n"
        write_atomically(path, lambda file: file.write(text.encode()))

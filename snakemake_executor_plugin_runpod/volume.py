"""What the head keeps on the volume: its heartbeat, a folder per pod, and the ledger of what pods
cost.

STATE/identity      six characters that tell this folder's pods from those of another one; the
folder; the volume STATE/head.json     heartbeat of the head STATE/ledger.jsonl  one line per pod
that has ended STATE/pod.py        what pods run STATE/jobs/NAME/    job.json and pod.json from the
head; lock/, heartbeat, log.txt, exit.json, removal.txt from the pod
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from snakemake_executor_plugin_runpod import pod
from snakemake_executor_plugin_runpod.clock import CLOCK, Clock
from snakemake_executor_plugin_runpod.errors import RunPodError


def read_json(path: Path) -> Any:
    """The content of a JSON file, or None if it does not exist or is unreadable for the moment."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


class Volume:
    """The state folder of one run.

    A copy of the folder is another folder, with an identity of its own: its head would otherwise
    end the pods of the first.

    Args:
        folder: the folder, on the volume.
        volume_id: RunPod's name of the volume; two volumes may hold the same path.
    """

    def __init__(self, folder: Path, volume_id: str = "") -> None:
        self.folder = folder.resolve()
        self.jobs = self.folder / "jobs"
        self.ledger = self.folder / "ledger.jsonl"
        self.head = self.folder / "head.json"
        self.runner = self.folder / "pod.py"
        self.copied: tuple[str, str] | None = None  # identity and folder of the original
        self.jobs.mkdir(parents=True, exist_ok=True)
        self.identity = self._identify(volume_id)
        if not self.runner.exists() or self.runner.read_bytes() != Path(pod.__file__).read_bytes():
            partial = self.runner.with_suffix(".partial")
            shutil.copyfile(pod.__file__, partial)
            partial.rename(self.runner)

    def _identify(self, volume_id: str) -> str:
        path = self.folder / "identity"
        here = [str(self.folder), volume_id]
        identity, *where = path.read_text(encoding="utf-8").split("\n") if path.exists() else [""]
        if where == here:
            return identity
        if where:
            self.copied = (identity, where[0])
        if where or not identity:  # without a place it is of an older version, which wrote none
            identity = secrets.token_hex(3)
        partial = path.with_suffix(".partial")
        partial.write_text("\n".join([identity, *here]), encoding="utf-8")
        partial.rename(path)
        return identity


class Heartbeat:
    """The sign of life of this head, written by a thread until :meth:`stop`.

    Args:
        path: the file.
        beat: seconds between two signs.
        stale: seconds without one until a head counts as gone.
        clock: for waiting.
    """

    def __init__(self, path: Path, beat: float, stale: float, clock: Clock = CLOCK) -> None:
        self.path = path
        self.beat = beat
        self.stale = stale
        self.clock = clock
        self.session = secrets.token_hex(6)
        self._count = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._live, daemon=True)

    def start(self, say: Callable[[str], None]) -> None:
        """Take over from the last head once it is certainly gone, and begin.

        Raises:
            RunPodError: another head is alive.
        """
        last = read_json(self.path)
        if last is not None and not last["ended"] and not _died_here(last):
            say(
                f"RunPod: waiting {self.stale:g} s to see whether the head on {last['host']}"
                f" (process {last['pid']}) is alive"
            )
            end = self.clock.monotonic() + self.stale
            while self.clock.monotonic() < end:
                self.clock.sleep(min(self.beat, self.stale / 10))
                now = read_json(self.path)
                if now is not None and now["ended"]:
                    break
                if now is not None and now != last:
                    raise RunPodError(
                        f"{self.path}: a head on {last['host']} (process {last['pid']}) is running"
                        " this workflow"
                    )
        self._write(ended=False)
        self._thread.start()

    def successor(self) -> str | None:
        """Which head has taken over, because this one was silent for too long; None while there is
        none.
        """
        if self._thread.ident is None:  # this one has not begun
            return None
        now = read_json(self.path)
        if now is None or now["session"] == self.session:
            return None
        return f"the head on {now['host']} (process {now['pid']})"

    def stop(self) -> None:
        """End; pods see that at once.

        Raises:
            OSError: the volume does not take it; pods then end after ``stale`` seconds.
        """
        if self._thread.is_alive():
            self._end.set()
            self._thread.join()
            if self.successor() is None:
                self._write(ended=True)

    def _live(self) -> None:
        while not self._end.wait(self.beat):
            if self.successor() is not None:
                return  # the file is the other's now, and the next refresh stops this head
            try:
                self._write(ended=False)
            except OSError:
                continue  # a volume may be away for a moment; pods wait for `stale` seconds

    def _write(self, *, ended: bool) -> None:
        self._count += 1
        content = {
            "session": self.session,
            "host": platform.node(),
            "pid": os.getpid(),
            "beat": self._count,
            "ended": ended,
        }
        pod.write(self.path, content)


def _died_here(last: dict[str, Any]) -> bool:
    """Whether a head was a process of this machine and is one no more."""
    if last["host"] != platform.node():
        return False
    try:
        os.kill(last["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False

"""What a pod runs: the command of one job, exactly once. Only the standard library; the head copies this file to the volume.

    python3 pod.py FOLDER

RunPod restarts a container whose command ends, and bills on. So this program never ends by itself: it claims the job by a
directory that can be made only once, runs the command, writes how it ended, and idles until the pod is deleted. While it runs it
watches the heartbeat of the head. When that stops, it ends the job and asks RunPod to remove this pod.

FOLDER holds, from the head: job.json (command, cwd, session, beat, stale, grace, limit: seconds).
From here: lock/owner, heartbeat, log.txt, exit.json (code: the exit status, or null if the command did not end by itself; reason).
FOLDER/../../head.json is the head's heartbeat: session, beat, ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from types import FrameType
from typing import Any

# Both spellings: RunPod has put either version of its tool into containers.
REMOVALS = (["runpodctl", "remove", "pod"], ["runpodctl", "pod", "delete"])
SECONDS_BETWEEN_REMOVALS = 60.0
# A pod that is taken away hears of it 5 s before.
LONGEST_NAP = 1.0


def write(path: pathlib.Path, content: Any) -> None:
    """Write JSON so that a reader finds all of it or nothing."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with open(partial, "w", encoding="utf-8") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


class Head:
    """The head's heartbeat, judged by its changes and the clock of this machine: clocks of two machines differ."""

    def __init__(self, path: pathlib.Path, session: str, stale: float) -> None:
        self.path, self.session, self.stale = path, session, stale
        self.seen: str | None = None
        self.changed = time.monotonic()

    def gone(self) -> str | None:
        """Why this pod has no head any more, or None."""
        text, content = self.seen, {"session": self.session}
        with contextlib.suppress(OSError, ValueError):  # a volume may be away for a moment
            text = self.path.read_text(encoding="utf-8")
            content = json.loads(text)
        if content["session"] != self.session:
            return "another head took over"
        if content.get("ended"):
            return "the head has ended"
        if text != self.seen:
            self.seen, self.changed = text, time.monotonic()
        elif time.monotonic() - self.changed > self.stale:
            return f"no heartbeat of the head for {self.stale:g} s"
        return None


def claim(folder: pathlib.Path, owner: str) -> bool:
    """Whether this process is the first to take the job. The claim and its owner appear in one step."""
    mine = folder / f"lock.{owner}.{os.getpid()}"
    mine.mkdir()
    (mine / "owner").write_text(owner, encoding="utf-8")
    try:
        mine.rename(folder / "lock")
        return True
    except OSError:
        (mine / "owner").unlink()
        mine.rmdir()
    if (folder / "lock/owner").read_text(encoding="utf-8") == owner and not (
        folder / "exit.json"
    ).exists():
        write(
            folder / "exit.json",
            {"code": None, "reason": "the container was restarted while the job ran"},
        )
    return False


def stop(process: subprocess.Popen[bytes], grace: float) -> None:
    """End the command and everything it started: first politely, so that it can save its state."""
    signal_group(process, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=grace)
    signal_group(process, signal.SIGKILL)  # also what its first process left behind
    process.wait()


def signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    """Send a signal to a command and its descendants, if there are any left."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def run(folder: pathlib.Path, job: dict[str, Any], head: Head, told: list[int]) -> None:
    """Run the command, watch it, and write how it ended."""
    start = beaten = time.monotonic()
    write(folder / "heartbeat", {"beat": 0})
    with open(folder / "log.txt", "ab") as log:
        process = subprocess.Popen(
            ["bash", "-c", job["command"]],
            cwd=job["cwd"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        reason: str | None = None
        beats = 0
        while reason is None:
            try:
                process.wait(timeout=min(job["beat"], LONGEST_NAP))
                break
            except subprocess.TimeoutExpired:
                now = time.monotonic()
            if told:
                reason = "the pod was told to stop"
            elif job["limit"] is not None and now - start > job["limit"]:
                reason = f"over its time limit of {job['limit']:g} s"
            elif now - beaten >= job["beat"]:
                reason, beats, beaten = head.gone(), beats + 1, now
                write(folder / "heartbeat", {"beat": beats})
        if reason is not None:
            stop(process, job["grace"])
    write(folder / "exit.json", {"code": None if reason else process.returncode, "reason": reason})


def remove_this_pod(pod_id: str) -> None:
    """Ask RunPod to remove this pod, with the tool and the key of this pod alone that RunPod puts into containers."""
    for command in REMOVALS:
        try:
            done = subprocess.run(
                [*command, pod_id], stdin=subprocess.DEVNULL, timeout=60, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0:
            return


def main(folder: pathlib.Path) -> None:
    """Run the job of ``folder`` if nobody did, then idle."""
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    head = Head(folder.parent.parent / "head.json", job["session"], job["stale"])
    pod_id = os.environ.get("RUNPOD_POD_ID", "")
    told: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        told.append(number)

    signal.signal(
        signal.SIGTERM, handle
    )  # process 1 of a container gets only the signals that it handles
    if claim(folder, pod_id or "unknown"):
        run(folder, job, head, told)
    asked: float | None = None
    while not told:
        time.sleep(min(job["beat"], LONGEST_NAP))
        if (
            pod_id
            and head.gone()
            and (asked is None or time.monotonic() - asked > SECONDS_BETWEEN_REMOVALS)
        ):
            asked = time.monotonic()
            remove_this_pod(pod_id)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))

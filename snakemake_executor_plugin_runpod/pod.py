"""What a pod runs: the command of one job, exactly once. Only the standard library; the head copies
this file to the volume.

    python3 pod.py FOLDER

RunPod restarts a container whose command ends, and bills on. So this program never ends by itself:
it claims the job by a directory that can be made only once, runs the command, writes how it ended,
and idles until the pod is deleted. While it runs it watches the heartbeat of the head. When that
stops, it ends the job and asks RunPod to remove this pod.

A volume may be away for a moment, or full: a heartbeat that cannot be written is left out, and how
the job ended is written again until it is there.

FOLDER holds, from the head: job.json (command, cwd, session, beat, stale, grace, limit: seconds;
api_url, graphql_url). From here: lock/owner, heartbeat, log.txt, exit.json (code: the exit status,
or null if the command did not end by itself; reason;
lost: whether the pod was the reason, and not the job), and removal.txt: what RunPod answered when
this pod asked to be removed. FOLDER/../../head.json is the head's heartbeat: session, beat, ended.
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
import urllib.error
import urllib.request
from collections.abc import Callable
from types import FrameType
from typing import Any

# All spellings: RunPod has put several versions of its tool into containers.
TOOLS = (
    ["runpodctl", "pod", "delete"],
    ["runpodctl", "remove", "pod"],
    ["runpodctl", "pod", "remove"],
)
SECONDS_BETWEEN_REMOVALS = 60.0
SECONDS_PER_REMOVAL = 60.0
# A pod that is taken away hears of it 5 s before.
LONGEST_NAP = 1.0
# Python's own name is refused by some servers.
AGENT = "snakemake-executor-plugin-runpod"


def write(path: pathlib.Path, content: Any) -> None:
    """Write JSON so that a reader finds all of it or nothing.

    Raises:
        OSError: the volume does not take it.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with open(partial, "w", encoding="utf-8") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


class Head:
    """The head's heartbeat, judged by its changes and the clock of this machine: clocks of two
    machines differ.
    """

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


def ended(code: int | None, reason: str | None, *, lost: bool = False) -> dict[str, Any]:
    """The content of exit.json."""
    return {"code": code, "reason": reason, "lost": lost}


def claim(folder: pathlib.Path, owner: str) -> bool:
    """Whether this process is the first to take the job. The claim and its owner appear in one
    step.

    Raises:
        OSError: the volume does not take it; the container is then restarted, and tries again.
    """
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
            ended(None, "the container was restarted while the job ran", lost=True),
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


def run(folder: pathlib.Path, job: dict[str, Any], head: Head, told: list[int]) -> dict[str, Any]:
    """Run the command and watch it; how it ended, as exit.json has it."""
    start = beaten = time.monotonic()
    beats = 0
    beat(folder, beats)
    reason: str | None = None
    lost = False
    with open(folder / "log.txt", "ab") as log:
        process = subprocess.Popen(
            ["bash", "-c", job["command"]],
            cwd=job["cwd"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        while reason is None:
            try:
                process.wait(timeout=min(job["beat"], LONGEST_NAP))
                break
            except subprocess.TimeoutExpired:
                now = time.monotonic()
            if told:
                reason, lost = "the pod was told to stop", True
            elif job["limit"] is not None and now - start > job["limit"]:
                reason = f"over its time limit of {job['limit']:g} s"
            elif now - beaten >= job["beat"]:
                reason, beats, beaten = head.gone(), beats + 1, now
                lost = reason is not None
                beat(folder, beats)
        if reason is not None:
            stop(process, job["grace"])
    return ended(None if reason else process.returncode, reason, lost=lost)


def beat(folder: pathlib.Path, count: int) -> None:
    """Write the heartbeat, if the volume takes it: the head waits for many of them before it gives
    a pod up.
    """
    with contextlib.suppress(OSError):
        write(folder / "heartbeat", {"beat": count})


def send(request: urllib.request.Request) -> str:
    """What a server answered: its status, and the beginning of the text where that says more."""
    try:
        with urllib.request.urlopen(request, timeout=SECONDS_PER_REMOVAL) as answer:
            text = answer.read(2000).decode("utf-8", "replace")
            return f"{answer.status} {text}".strip()
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.reason}"
    except (OSError, ValueError) as error:
        return f"{type(error).__name__}: {error}"


def by_api(job: dict[str, Any], pod_id: str) -> tuple[bool, str]:
    """Ask the API v2 with the key of this pod; whether it removes the pod, and what it said."""
    headers = {
        "Authorization": f"Bearer {os.environ.get('RUNPOD_API_KEY', '')}",
        "User-Agent": AGENT,
    }
    url = f"{job['api_url']}/pods/{pod_id}"
    said = send(urllib.request.Request(url, method="DELETE", headers=headers))
    return said.startswith("204"), said


def by_tool(job: dict[str, Any], pod_id: str) -> tuple[bool, str]:
    """Ask runpodctl, which RunPod puts into containers with the key of this pod."""
    said = []
    for command in TOOLS:
        try:
            done = subprocess.run(
                [*command, pod_id],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=SECONDS_PER_REMOVAL,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            said.append(f"{' '.join(command)}: {type(error).__name__}")
            continue
        text = " ".join(done.stdout.decode("utf-8", "replace").split())[:200]
        said.append(f"{' '.join(command)}: exit status {done.returncode} {text}".strip())
        if done.returncode == 0:
            return True, said[-1]
    return False, "; ".join(said)


def by_graphql(job: dict[str, Any], pod_id: str) -> tuple[bool, str]:
    """Ask the older API with the key of this pod. RunPod retires it in 2027."""
    query = f'mutation {{ podTerminate(input: {{podId: "{pod_id}"}}) }}'
    request = urllib.request.Request(
        job["graphql_url"],
        data=json.dumps({"query": query}).encode(),
        headers={
            "Authorization": f"Bearer {os.environ.get('RUNPOD_API_KEY', '')}",
            "Content-Type": "application/json",
            "User-Agent": AGENT,
        },
    )
    said = send(request)
    return said.startswith("200") and '"errors"' not in said, said


WAYS: tuple[tuple[str, Callable[[dict[str, Any], str], tuple[bool, str]]], ...] = (
    ("API v2", by_api),
    ("runpodctl", by_tool),
    ("GraphQL", by_graphql),
)


def remove_this_pod(folder: pathlib.Path, job: dict[str, Any], pod_id: str) -> bool:
    """Ask RunPod to remove this pod in each way that it may have, until one works; all answers go
    to removal.txt.
    """
    key = os.environ.get("RUNPOD_API_KEY") or "\0"
    for name, way in WAYS:
        works, said = way(job, pod_id)
        line = f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {name}: {said}"
        with (
            contextlib.suppress(OSError),
            open(folder / "removal.txt", "a", encoding="utf-8") as file,
        ):
            file.write(" ".join(line.replace(key, "<key>").split())[:600] + "\n")
        if works:
            return True
    return False


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
    to_write: dict[str, Any] | None = None
    if claim(folder, pod_id or "unknown"):
        try:
            to_write = run(folder, job, head, told)
        except OSError as error:  # the log or the working directory is not there
            to_write = ended(None, f"the job could not be started: {error}")
    asked: float | None = None
    while True:
        if to_write is not None:
            with contextlib.suppress(OSError):
                write(folder / "exit.json", to_write)
                to_write = None
        if told:
            return
        time.sleep(min(job["beat"], LONGEST_NAP))
        if (
            pod_id
            and head.gone()
            and (asked is None or time.monotonic() - asked > SECONDS_BETWEEN_REMOVALS)
        ):
            asked = time.monotonic()
            remove_this_pod(folder, job, pod_id)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))

"""What RunPod's API v2 accepts and how it refuses. Source: api-reference-v2/openapi.json of
https://github.com/runpod/docs.
"""

from __future__ import annotations

from typing import Any

import jsonschema

STRING = {"type": "string"}
STRINGS = {"type": "array", "items": STRING}
WHOLE = {"type": "integer", "minimum": 1}
LARGEST_BODY = 102_400  # bytes
NO_CAPACITY = (
    "There are no longer any instances available with the requested specifications."
    " Please refresh and try again."
)


def only(required: list[str], **properties: Any) -> dict[str, Any]:
    """The schema of an object without further keys."""
    return {
        "type": "object",
        "required": required,
        "properties": properties,
        "additionalProperties": False,
    }


CUDA = {"type": "string", "pattern": r"^\d+\.\d+$"}
CREATE = jsonschema.Draft202012Validator(
    only(
        ["name"],
        name={"type": "string", "minLength": 1},
        image=STRING,
        args=STRING,
        cmd=STRINGS,
        entrypoint=STRINGS,
        disk=WHOLE,
        env={"type": "object", "additionalProperties": STRING},
        ports=STRINGS,
        registry={"type": ["string", "null"]},
        templateId=STRING,
        startSsh={"type": "boolean"},
        startJupyter={"type": "boolean"},
        mounts=only(
            [],
            persistent=only(["size", "path"], size={"type": "integer", "minimum": 10}, path=STRING),
            network={
                "type": "array",
                "maxItems": 1,
                "items": only(["volumeId", "path"], volumeId=STRING, path=STRING),
            },
        ),
        gpu=only(
            ["id"],
            id=STRING,
            count=WHOLE,
            minCudaVersion=CUDA,
            allowedCudaVersions={"type": "array", "items": CUDA},
            minRamPerGpu=WHOLE,
            minVcpuCountPerGpu=WHOLE,
        ),
        cpu=only(["id", "vcpuCount"], id=STRING, vcpuCount={"type": "integer", "minimum": 2}),
        cloud={"enum": ["SECURE", "COMMUNITY"]},
        dataCenterIds=STRINGS,
        globalNetworking={"type": "boolean"},
    )
)
ACTION = jsonschema.Draft202012Validator(
    only(["action"], action={"enum": ["start", "stop", "restart", "terminate"]})
)


class Problem(Exception):
    """An answer that is a problem document."""

    def __init__(
        self, status: int, title: str, detail: str, *errors: str, retry_after: int | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.content: dict[str, Any] = {"title": title, "status": status, "detail": detail}
        if errors:
            self.content["errors"] = list(errors)
        self.headers = {} if retry_after is None else {"Retry-After": str(retry_after)}


def check(schema: jsonschema.Draft202012Validator, body: Any) -> None:
    """Refuse a body that does not match.

    Raises:
        Problem: 422 with every violation.
    """
    violations = [error.message for error in schema.iter_errors(body)]
    if violations:
        raise Problem(422, "Unprocessable Entity", "Request validation failed.", *violations)


def check_creation(body: Any) -> None:
    """Refuse a request for a pod that no data center could fulfil.

    Raises:
        Problem: 400 or 422.
    """
    check(CREATE, body)
    if "image" not in body and "templateId" not in body:
        raise Problem(422, "Unprocessable Entity", "Request validation failed.", "image: required")
    if ("gpu" in body) == ("cpu" in body):
        raise Problem(400, "Bad Request", "exactly one of gpu or cpu must be set")
    if "args" in body and ("cmd" in body or "entrypoint" in body):
        raise Problem(400, "Bad Request", "args and cmd describe different commands")
    mounts = body.get("mounts", {})
    if "persistent" in mounts and ("network" in mounts or "cpu" in body):
        raise Problem(400, "Bad Request", "mounts.persistent is not possible here")
    count = body.get("cpu", {}).get("vcpuCount", 2)
    if count & (count - 1):
        raise Problem(400, "Bad Request", "vcpuCount must be a power of two")
    if body.get("cloud") == "COMMUNITY" and mounts.get("network"):
        raise Problem(400, "Bad Request", "network volumes need the SECURE cloud")

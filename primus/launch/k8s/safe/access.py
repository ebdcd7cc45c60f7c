"""How to reach a Primus-SaFE server, and what its refusals mean. client.py asks through this."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from primus.errors import UsageError
from primus.launch.k8s.http import Endpoint, Reading
from primus.redact import redact_text

PREFIX = "/api/v1"

QUOTA = "Primus.00008"
"""Comes with 503, and stays until somebody frees something."""

_READINGS = {
    "Primus.00002": "the server does not accept a value of the request",
    "Primus.00003": "your account may not do this; with the shipped roles, a list needs --workspace",
    "Primus.00004": "something of this name exists already",
    "Primus.00006": "the request is too large for the server",
    QUOTA: "the workspace's quota is used up: free something, or ask for more",
    "Primus.00009": "the server does not know this API key or token",
    "Primus.00011": "the token has expired; log in again",
    "Primus.00012": "it is in a state that does not allow this",
    "Primus.01001": "there is no such workload; `primus k8s list` shows those that are there",
    "Primus.02001": "there is no such workspace; `primus k8s workspaces` shows those that are there",
}

_STATUS_READINGS = {
    401: "the server wants to know who asks: set PRIMUS_SAFE_API_KEY, or use `primus k8s login`",
    403: _READINGS["Primus.00003"],
    404: "the server knows no such thing",
    413: _READINGS["Primus.00006"],
    429: "the server had too many requests for a while",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """A server, and how to speak to it."""

    url: str
    """With scheme, without the API's prefix."""

    token: str | None = None
    """API key (`ak-…`) or token of a login; a server of June 2025 wants none."""

    ca_file: Path | None = None
    """Certificates to trust, instead of the system's."""

    timeout: float = 30.0
    """Seconds for one request."""

    def __post_init__(self) -> None:
        scheme, _, rest = self.url.partition("://")
        if scheme not in ("http", "https") or not rest.strip("/") or len(rest.split()) != 1:
            raise UsageError(f"--url {redact_text(self.url)!r}: expected http://HOST[:PORT] or https://HOST[:PORT]")
        if "@" in rest.partition("/")[0]:
            raise UsageError("--url: no login in the address; set PRIMUS_SAFE_API_KEY, or use `primus k8s login`")

    def endpoint(self) -> Endpoint:
        return Endpoint(
            url=self.url.rstrip("/").removesuffix(PREFIX) + PREFIX,
            authorization=lambda: f"Bearer {self.token}" if self.token else None,
            verify=self.ca_file or True,
            timeout=self.timeout,
            server="Primus-SaFE server",
            readings=Reading(
                code="errorCode",
                message="errorMessage",
                codes=_READINGS,
                statuses=_STATUS_READINGS,
                final=frozenset({QUOTA}),
            ),
            login="set PRIMUS_SAFE_API_KEY, or use `primus k8s login`; is --url the address of the API?",
        )

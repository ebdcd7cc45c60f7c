"""Requests to a Primus-SaFE server: where it is, who asks, what may be tried again, and how a refusal reads. client.py
asks through this."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from primus.errors import MissingError, ServiceError, UsageError
from primus.redact import redact_text

if TYPE_CHECKING:
    import httpx

PREFIX = "/api/v1"

_TRIES = 5
_FIRST_PAUSE = 0.5
"""Seconds before the second try; doubled each time."""

_LONGEST_PAUSE = 20.0

_PASSING = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses after which the same question may be answered."""

_QUOTA = "Primus.00008"
"""Comes with 503, and stays until somebody frees something."""

_READINGS = {
    "Primus.00002": "the server does not accept a value of the request",
    "Primus.00003": "your account may not do this; with the shipped roles, a list needs --workspace",
    "Primus.00004": "something of this name exists already",
    "Primus.00006": "the request is too large for the server",
    _QUOTA: "the workspace's quota is used up: free something, or ask for more",
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
        if scheme not in ("http", "https") or not rest.strip("/"):
            raise UsageError(f"--url {redact_text(self.url)!r}: expected http://HOST[:PORT] or https://HOST[:PORT]")
        if "@" in rest.partition("/")[0]:
            raise UsageError("--url: no login in the address; set PRIMUS_SAFE_API_KEY, or use `primus k8s login`")


class NotFoundError(ServiceError):
    """The server says that there is no such thing."""


class PassingError(ServiceError):
    """The same request may succeed a little later."""

    def __init__(self, text: str, *, arrived: bool, wait: float | None = None) -> None:
        super().__init__(text)
        self.arrived = arrived
        """It may have been carried out, though no good answer came."""

        self.wait = wait
        """Seconds that the server asks for."""


class Http:
    """A context with one pool of connections. Its methods return decoded answers, or raise ServiceError."""

    def __init__(self, access: Access, *, sleep: Callable[[float], None] = time.sleep) -> None:
        try:
            import httpx
        except ImportError:
            raise MissingError("`primus k8s --url` needs httpx; install it with: pip install 'primus[k8s]'") from None
        self._address = access.url.rstrip("/").removesuffix(PREFIX) + PREFIX
        self._sleep = sleep
        headers = {"Accept": "application/json"}
        if access.token:
            headers["Authorization"] = f"Bearer {access.token}"
        self._client = httpx.Client(headers=headers, timeout=access.timeout, verify=_trust(access.ca_file))

    def __enter__(self) -> Http:
        return self

    def __exit__(self, *error: object) -> None:
        self._client.close()

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        answer = self.again("GET", path, params=params)
        if not isinstance(answer, dict):
            raise ServiceError(f"GET {self._address}{path}: expected an object, got {type(answer).__name__}")
        return answer

    def again(self, method: str, path: str, **request: Any) -> Any:
        """A request that does no harm when it arrives twice, tried until it is answered or seems hopeless."""
        pause = _FIRST_PAUSE
        for remaining in reversed(range(_TRIES)):
            try:
                return self.once(method, path, **request)
            except PassingError as error:
                if not remaining:
                    raise ServiceError(f"{error} (tried {_TRIES} times)") from error
                self.pause(error, pause)
                pause *= 2
        raise AssertionError("unreachable")

    def pause(self, error: PassingError, seconds: float) -> None:
        """Wait before the next try; somewhat more than `seconds`, so that many clients don't come together."""
        self._sleep(min(error.wait or seconds * (1 + random.random()), _LONGEST_PAUSE))

    def once(self, method: str, path: str, *, params: Mapping[str, Any] | None = None, body: Any = None) -> Any:
        """One try; PassingError when another one makes sense."""
        import httpx

        what = f"{method} {self._address}{path}"
        content = None if method == "GET" else json.dumps(body)
        headers = {} if content is None else {"Content-Type": "application/json"}
        given = {name: value for name, value in (params or {}).items() if value is not None}
        try:
            answer = self._client.request(method, self._address + path, params=given, content=content, headers=headers)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise PassingError(f"{what}: no connection: {_reason(error)}", arrived=False) from error
        except httpx.TransportError as error:
            raise PassingError(f"{what}: no answer: {_reason(error)}", arrived=True) from error
        return _read(what, answer)


def _read(what: str, answer: httpx.Response) -> Any:
    """The decoded answer of a success; anything else is raised as what it means."""
    if answer.is_redirect:
        to = answer.headers.get("location", "")
        raise ServiceError(
            f"{what}: sent on to {redact_text(to)}, a login page perhaps; set PRIMUS_SAFE_API_KEY, or use "
            "`primus k8s login`; is --url the address of the API?"
        )
    if answer.is_success:
        try:
            return answer.json()
        except ValueError:
            return _refuse_text(what, answer)
    code, message = _error_of(answer)
    reading = _READINGS.get(code) or _STATUS_READINGS.get(answer.status_code, "")
    said = ": ".join(part for part in (code, redact_text(message)) if part)
    text = f"{what}: {answer.status_code} {said or answer.reason_phrase}{f' ({reading})' if reading else ''}"
    if answer.status_code == 404:
        raise NotFoundError(text)
    if answer.status_code in _PASSING and code != _QUOTA:
        raise PassingError(text, arrived=answer.status_code not in (429, 503), wait=_wait_of(answer))
    raise ServiceError(text)


def _refuse_text(what: str, answer: httpx.Response) -> NoReturn:
    if answer.text.lstrip()[:1] in ("{", "["):
        raise PassingError(f"{what}: the answer ends in the middle", arrived=True)
    start = " ".join(answer.text.split())[:80]
    raise ServiceError(
        f"{what}: this is no Primus-SaFE server, or a login page stands before it; it answered {redact_text(start)!r}"
    )


def _error_of(answer: httpx.Response) -> tuple[str, str]:
    """The server's error code and message; proxies and login pages have none."""
    try:
        said = answer.json()
    except ValueError:
        return "", ""
    if not isinstance(said, dict):
        return "", ""
    return str(said.get("errorCode") or ""), str(said.get("errorMessage") or "")


def _wait_of(answer: httpx.Response) -> float | None:
    """Seconds of a Retry-After; the other form, a date, is left to our own pauses."""
    value = answer.headers.get("retry-after", "")
    return float(value) if value.isdecimal() else None


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _trust(ca_file: Path | None) -> Any:
    if ca_file is None:
        return True
    import ssl

    try:
        return ssl.create_default_context(cafile=str(ca_file))
    except FileNotFoundError:
        raise MissingError(f"--ca-file {ca_file}: there is no such file") from None
    except (ssl.SSLError, OSError) as error:
        raise MissingError(f"--ca-file {ca_file}: no certificates could be read ({error})") from None

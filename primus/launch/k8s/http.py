"""Requests to an API over HTTP: who asks, what may be tried again, and how a refusal reads. Both targets ask through
this."""

from __future__ import annotations

import itertools
import json
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from primus.errors import MissingError, ServiceError, UsageError
from primus.redact import redact_text

if TYPE_CHECKING:
    import httpx

_TRIES = 5
_FIRST_TRIES = 3
"""Where nobody ever answered: the address is wrong perhaps."""

_FIRST_PAUSE = 0.5
"""Seconds before the second try; doubled each time."""

_LONGEST_PAUSE = 20.0

_CONTENT_TYPES = {"PATCH": "application/merge-patch+json"}

_PASSING = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses after which the same question may be answered."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """How a kind of server tells errors, and what they mean to our users."""

    code: str
    """Field of an error's name."""

    message: str
    codes: Mapping[str, str]
    """What a name means."""

    statuses: Mapping[int, str]
    """What a status means that comes without a known name."""

    final: frozenset[str] = frozenset()
    """Names that don't pass, though their status often does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """An API, and how to speak to it."""

    url: str
    """With everything before the first part of a path."""

    authorization: Callable[[], str | None] = lambda: None
    """The header of that name; asked for each request, because some tokens live for minutes only."""

    verify: bool | Path = True
    """Certificates to trust instead of the system's; False trusts everybody."""

    certificate: tuple[str, str] | None = None
    """Files of a certificate and its key that say who asks."""

    proxy: str | None = None
    """Instead of the environment's."""

    timeout: float = 30.0
    """Seconds for one request."""

    server: str
    """What it should be, in words."""

    readings: Reading
    login: str
    """What to do when it sends us to a login page."""


class RefusedError(ServiceError):
    """The server understood and said no."""

    def __init__(self, text: str, *, status: int) -> None:
        super().__init__(text)
        self.code = status
        """Of HTTP."""


class NotFoundError(RefusedError):
    """The server says that there is no such thing."""

    def __init__(self, text: str) -> None:
        super().__init__(text, status=404)


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

    def __init__(self, endpoint: Endpoint, *, sleep: Callable[[float], None] = time.sleep) -> None:
        _load_httpx()
        import httpx

        self._endpoint = endpoint
        self._sleep = sleep
        self._answered = False
        self._client = httpx.Client(
            headers={"Accept": "application/json"},
            auth=self._signed,
            timeout=endpoint.timeout,
            verify=_trust(endpoint),
            proxy=endpoint.proxy,
        )

    def __enter__(self) -> Http:
        return self

    def __exit__(self, *error: object) -> None:
        self._client.close()

    def get(self, path: str, params: Mapping[str, Any] | None = None, *, having: tuple[str, ...]) -> dict[str, Any]:
        """The object there, which has one of these fields; on another server than the one meant it has not."""
        return self.require("GET", path, self.again("GET", path, params=params), having)

    def require(self, method: str, path: str, answer: Any, having: tuple[str, ...]) -> dict[str, Any]:
        """`answer` when it is an object with one of these fields."""
        if isinstance(answer, dict) and any(name in answer for name in having):
            return answer
        raise ServiceError(
            f"{method} {self._endpoint.url}{path}: the answer has no {' or '.join(having)}, so this is no "
            f"{self._endpoint.server}; look at its address"
        )

    def again(self, method: str, path: str, **request: Any) -> Any:
        """A request that does no harm when it arrives twice, tried until it is answered or seems hopeless."""
        pause = _FIRST_PAUSE
        for tries in itertools.count(1):
            try:
                return self.once(method, path, **request)
            except PassingError as error:
                if tries == (_TRIES if self._answered else _FIRST_TRIES):
                    raise ServiceError(f"{error} (tried {tries} times)") from error
                self.pause(error, pause)
                pause *= 2
        raise AssertionError("unreachable")

    def pause(self, error: PassingError, seconds: float) -> None:
        """Wait before the next try; somewhat more than `seconds`, so that many clients don't come together."""
        self._sleep(min(error.wait or seconds * (1 + random.random()), _LONGEST_PAUSE))

    def once(self, method: str, path: str, *, params: Mapping[str, Any] | None = None, body: Any = None) -> Any:
        """One try; PassingError when another one makes sense."""
        what = f"{method} {self._endpoint.url}{path}"
        content = None if method == "GET" else json.dumps(body)
        headers = {} if content is None else {"Content-Type": _CONTENT_TYPES.get(method, "application/json")}
        with _explained(what):
            answer = self._client.request(
                method, self._endpoint.url + path, params=_given(params), content=content, headers=headers
            )
        self._answered = True
        return _read(what, answer, self._endpoint)

    def lines(self, path: str, params: Mapping[str, Any] | None = None) -> Iterator[str]:
        """The lines of a text that the server may still be writing."""
        what = f"GET {self._endpoint.url}{path}"
        address = self._endpoint.url + path
        with _explained(what), self._client.stream("GET", address, params=_given(params), timeout=None) as answer:
            if not answer.is_success:
                answer.read()
                _read(what, answer, self._endpoint)
            yield from answer.iter_lines()

    def _signed(self, request: httpx.Request) -> httpx.Request:
        if authorization := self._endpoint.authorization():
            request.headers["Authorization"] = authorization
        return request


def _load_httpx() -> None:
    """Without its own command line, which loads rich and click, takes longer than all the rest, and may be missing."""
    command_line = "httpx._main"
    blocked = command_line not in sys.modules
    if blocked:
        sys.modules[command_line] = None  # type: ignore[assignment]
    try:
        import httpx  # noqa: F401
    except ImportError:
        raise MissingError("`primus k8s` needs httpx; install it with: pip install 'primus[k8s]'") from None
    finally:
        if blocked:
            del sys.modules[command_line]


def _given(params: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (params or {}).items() if value is not None}


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Errors on the way to the server and back, as ours."""
    import httpx

    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise ServiceError(f"{what}: its certificate is not trusted here ({error}); see --ca-file") from error
        raise PassingError(f"{what}: no connection: {_reason(error)}", arrived=False) from error
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise UsageError(f"{what}: this is no address ({error})") from error
    except httpx.TransportError as error:
        raise PassingError(f"{what}: no answer: {_reason(error)}", arrived=True) from error


def _read(what: str, answer: httpx.Response, endpoint: Endpoint) -> Any:
    """The decoded answer of a success; anything else is raised as what it means."""
    if answer.is_redirect:
        to = answer.headers.get("location", "")
        secure = str(answer.request.url.copy_with(scheme="https", port=None))
        if answer.request.url.scheme == "http" and to.startswith(secure.partition("?")[0]):
            raise ServiceError(f"{what}: this server wants https; use an address that begins with https://")
        raise ServiceError(f"{what}: sent on to {redact_text(to)}, a login page perhaps; {endpoint.login}")
    if answer.is_success:
        if not answer.content:
            return None
        try:
            return answer.json()
        except ValueError:
            return _refuse_text(what, answer, endpoint)
    readings = endpoint.readings
    code, message = _error_of(answer, readings)
    reading = readings.codes.get(code) or readings.statuses.get(answer.status_code, "")
    said = ": ".join(part for part in (code, redact_text(message)) if part)
    text = f"{what}: {answer.status_code} {said or answer.reason_phrase}{f' ({reading})' if reading else ''}"
    if answer.status_code == 404:
        raise NotFoundError(text)
    if answer.status_code in _PASSING and code not in readings.final:
        raise PassingError(text, arrived=answer.status_code not in (429, 503), wait=_wait_of(answer))
    raise RefusedError(text, status=answer.status_code)


def _refuse_text(what: str, answer: httpx.Response, endpoint: Endpoint) -> NoReturn:
    if answer.text.lstrip()[:1] in ("{", "["):
        raise PassingError(f"{what}: the answer ends in the middle", arrived=True)
    start = " ".join(answer.text.split())[:80]
    raise ServiceError(
        f"{what}: this is no {endpoint.server}, or a login page stands before it; it answered {redact_text(start)!r}"
    )


def _error_of(answer: httpx.Response, readings: Reading) -> tuple[str, str]:
    """The server's error code and message; proxies and login pages have none."""
    try:
        said = answer.json()
    except ValueError:
        return "", ""
    if not isinstance(said, dict):
        return "", ""
    return str(said.get(readings.code) or ""), str(said.get(readings.message) or "")


def _wait_of(answer: httpx.Response) -> float | None:
    """Seconds of a Retry-After; the other form, a date, is left to our own pauses."""
    value = answer.headers.get("retry-after", "")
    return float(value) if value.isdecimal() else None


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _trust(endpoint: Endpoint) -> Any:
    if isinstance(endpoint.verify, bool) and endpoint.certificate is None:
        return endpoint.verify
    import ssl

    try:
        trust = ssl.create_default_context(cafile=None if isinstance(endpoint.verify, bool) else str(endpoint.verify))
        if endpoint.verify is False:
            trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
        if endpoint.certificate is not None:
            trust.load_cert_chain(*endpoint.certificate)
    except FileNotFoundError:
        raise MissingError(f"certificates: there is no file {endpoint.verify}") from None
    except (ssl.SSLError, OSError) as error:
        raise MissingError(f"certificates: {endpoint.verify} can't be used ({error})") from None
    return trust

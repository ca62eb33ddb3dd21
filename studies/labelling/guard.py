"""Who may talk to the labelling page: a browser that had the token, on this machine, from the page itself."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 10_000_000
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class Keys:
    """The token of the address, which opens the page once, and the cookie that the browser gets for it.

    Parameters
    ----------
    port : int
        Where the server listens: cookies of one host are shared by all ports, so that its name tells it.
    announce : callable
        Given the address with the next token when one was used.
    """

    def __init__(self, port: int, announce: Callable[[str], None]) -> None:
        self.hosts = (f"127.0.0.1:{port}", f"localhost:{port}")
        self.cookie = f"sonarseg-label-{port}"
        self._session = secrets.token_urlsafe(32)
        self._announce = announce
        self._token = secrets.token_urlsafe(24)

    @property
    def address(self) -> str:
        """Address that opens the page, once."""
        return f"http://{self.hosts[0]}/?token={self._token}"

    def exchange(self, token: str) -> str | None:
        """Take a token; the value of the cookie, or None if it is not the right one."""
        if not secrets.compare_digest(token.encode(), self._token.encode()):
            return None
        self._token = secrets.token_urlsafe(24)
        self._announce(self.address)
        return self._session

    def knows(self, cookies: str) -> bool:
        """Whether a Cookie header holds the session's cookie."""
        try:
            held = SimpleCookie(cookies).get(self.cookie)
        except CookieError:
            return False
        return held is not None and secrets.compare_digest(held.value.encode(), self._session.encode())


class Guard:
    """Refuses what is not the page's own request, and bodies of more than `MOST_BYTES`.

    Parameters
    ----------
    app : ASGI application
        Answers what may pass.
    keys : Keys
        Token and cookie.
    """

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = Headers(scope=scope)
        cookie: str | None = None
        refusal = self._refusal(scope, headers)
        if refusal is None and not self._keys.knows(headers.get("cookie", "")):
            cookie = self._exchanged(scope)
            if cookie is None:
                refusal = PlainTextResponse(
                    "This page opens with the address that `sonarseg label` printed last.\n", 401
                )
        sender = _with_headers(send, self._keys.cookie, cookie)
        body = b""
        if refusal is None:
            read = await _read_body(headers, receive)
            if read is None:
                refusal = PlainTextResponse(f"A request holds at most {MOST_BYTES} bytes.\n", 413)
            else:
                body = read
        if refusal is not None:
            await refusal(scope, receive, sender)
            return
        await self._app(scope, _replay(body, receive), sender)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or hosts[0].lower() not in self._keys.hosts:
            return PlainTextResponse("This page answers under 127.0.0.1 only.\n", 403)
        origins = headers.getlist("origin")
        if origins and origins != [f"http://{hosts[0].lower()}"]:
            return PlainTextResponse("Requests of other pages are refused.\n", 403)
        # A link or a typed address may lead here; pictures and scripts of other pages may not.
        opened = headers.get("sec-fetch-mode", "navigate") == "navigate" and scope["method"] == "GET"
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not (
            opened and scope["path"] == "/"
        ):
            return PlainTextResponse("Requests of other pages are refused.\n", 403)
        return None

    def _exchanged(self, scope: Scope) -> str | None:
        if scope["method"] != "GET" or scope["path"] != "/":
            return None
        tokens = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
        return self._keys.exchange(tokens[0]) if len(tokens) == 1 else None


async def _read_body(headers: Headers, receive: Receive) -> bytes | None:
    """Read a request's body; None if it is too long."""
    if headers.get("content-length", "0").strip().isdecimal():
        if int(headers.get("content-length", "0")) > MOST_BYTES:
            return None
    else:
        return None
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return bytes(body)
        body += message.get("body", b"")
        if len(body) > MOST_BYTES:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _with_headers(send: Send, name: str, cookie: str | None) -> Send:
    async def sender(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for key, value in _HEADERS.items():
                headers[key] = value
            if cookie is not None:
                headers.append("Set-Cookie", f"{name}={cookie}; Path=/; HttpOnly; SameSite=Strict")
        await send(message)

    return sender

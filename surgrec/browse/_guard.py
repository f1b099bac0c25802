"""Who may ask: every request passes here before a page or a file is looked up."""

from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from secrets import compare_digest
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HOSTS = ("127.0.0.1", "localhost")
"""Names under which the server may be addressed. With another name, a page of another site could
reach it through that site's own name server. The port may differ: tunnels choose their own."""
_METHODS = ("GET", "HEAD")
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "media-src 'self'; connect-src 'self'; frame-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'self'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Guard:
    """Accept only requests of this machine's user, and only those that read.

    Args:
        app: The application behind it.
        token: The secret in the printed address. A first visit with it sets a cookie, which all
            further requests carry.
        port: Port of the server, which names the cookie: browsers send cookies to all ports.
    """

    def __init__(self, app: ASGIApp, token: str, port: int) -> None:
        self._app = app
        self._token = token.encode("ascii")
        self._cookie = f"surgrec-{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it with one sentence."""
        if scope["type"] != "http":
            raise RuntimeError(f"the server does not speak {scope['type']}")

        is_first = self._is_first_visit(scope)
        refused = self._refusal(scope, is_first)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._add_headers(MutableHeaders(scope=message), is_first and refused is None)
            await send(message)

        await (refused or self._app)(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope, is_first: bool) -> PlainTextResponse | None:
        """Return the answer to a request that is refused; None: it may pass."""
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")

        # Another host name would be that of a page elsewhere, which must not read through
        # this server.
        if len(hosts) != 1 or hosts[0].partition(":")[0] not in _HOSTS:
            return _refuse(
                "this name is not served; open http://127.0.0.1 with the printed port", 403
            )
        if scope["method"] not in _METHODS:
            return _refuse("the browser only reads; use GET or HEAD", 405)
        if not is_first and not self._has_cookie(headers):
            return _refuse(
                "the token is missing or wrong; open the whole address that "
                "`surgrec browse` printed when it started",
                403,
            )
        return None

    def _is_first_visit(self, scope: Scope) -> bool:
        if scope["path"] != "/":
            return False
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
        return len(given) == 1 and self._is_token(given[0])

    def _has_cookie(self, headers: Mapping[str, str]) -> bool:
        try:
            cookies = SimpleCookie(headers.get("cookie", ""))
        except CookieError:
            return False
        return self._cookie in cookies and self._is_token(cookies[self._cookie].value)

    def _is_token(self, text: str) -> bool:
        return compare_digest(text.encode("utf-8", "surrogatepass"), self._token)

    def _add_headers(self, headers: MutableHeaders, sets_cookie: bool) -> None:
        for name, value in _HEADERS.items():
            headers.setdefault(name, value)
        if sets_cookie:
            secret = self._token.decode("ascii")
            headers.append(
                "Set-Cookie", f"{self._cookie}={secret}; Path=/; HttpOnly; SameSite=Strict"
            )


def _refuse(sentence: str, status: int) -> PlainTextResponse:
    return PlainTextResponse(f"{sentence}\n", status_code=status)

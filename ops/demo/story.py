"""The nine traces as requests, each printed with its answer and held against what is expected."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import httpx
from rich.console import Console

LIST = "/api/v2/wishlists/wl_8a2b3c4d5e6f"
WHATSAPP = "WhatsApp/2.23.20 (iPhone; iOS 17.0)"
SHOWN_HEADERS = ("x-request-id", "x-ratelimit-limit", "x-ratelimit-remaining", "retry-after", "cache-control")


class Story:
    """Sends the requests of the spec's people; what is not as expected is kept in ``surprises``."""

    def __init__(self, http: httpx.Client, token_of: Callable[[str], str], console: Console) -> None:
        self._http = http
        self._console = console
        self._sign_in = {user: f"Bearer {token_of(user)}" for user in ("user_maya", "user_recipient")}
        self.surprises: list[str] = []

    def create(self) -> str:
        """Maya shares her list and hides one item; returns the token."""
        body = {"channel": "copy_link", "expires_in_days": 30, "hidden_items": ["item_abc123"]}
        answer = self._do("1 Maya shares her list", 201, "POST", f"{LIST}/share", "req_ws_001_share", body)
        token: str = answer["share_token"]
        return token

    def view_page(self, token: str) -> None:
        """WhatsApp fetches the page for its preview."""
        headers = {"User-Agent": WHATSAPP, "Accept": "text/html"}
        self._do(
            "2 WhatsApp reads the page", 200, "GET", f"/wishlists/shared/{token}", "req_ws_002_view", headers=headers
        )

    def look_up(self, token: str) -> None:
        """A friend opens the list."""
        path = f"/api/v2/wishlists/shared/{token}"
        answer = self._do("3 a friend opens it", 200, "GET", path, "req_ws_003_api", user="user_recipient")
        self._expect(answer["wishlist"]["item_count"] == 7, "the friend sees seven items")
        self._expect(answer["wishlist"]["total_value"] == 1577.47, "they are worth 1577.47")

    def add(self, token: str) -> None:
        """The friend copies an item."""
        body = {"product_id": "prod_1a2b3c", "source": "shared_wishlist", "source_token": token}
        path = "/api/v2/wishlists/my/items"
        self._do("4 and copies an item", 201, "POST", path, "req_ws_004_add", body, user="user_recipient")

    def reach_the_limit(self) -> str:
        """Maya shares until she is told to wait; returns the second share's token."""
        body = {"channel": "email", "expires_in_days": 7}
        tokens = []
        for _ in range(19):
            answer = self._http.post(f"{LIST}/share", json=body, headers={"Authorization": self._sign_in["user_maya"]})
            self._expect(answer.status_code == 201, f"share within the limit, answered {answer.status_code}")
            tokens.append(answer.json().get("share_token", ""))
        title = "5 after 20 shares in an hour, the next"
        self._do(title, 429, "POST", f"{LIST}/share", "req_ws_005_ratelimit", body)
        return str(tokens[0])

    def revoke(self, token: str) -> None:
        """Maya takes a link back."""
        self._do("6 Maya revokes a link", 204, "DELETE", f"{LIST}/shares/{token}", "req_ws_006_revoke")

    def revoked_page(self, token: str) -> None:
        """The revoked link is as if it had never been (DESIGN 6: 404, not the trace's 410)."""
        headers = {"Accept": "text/html"}
        path = f"/wishlists/shared/{token}"
        self._do("7 which nobody can open now", 404, "GET", path, "req_ws_007_revoked", user=None, headers=headers)

    def unknown_list(self) -> None:
        """A list that is none."""
        body = {"channel": "copy_link", "expires_in_days": 7}
        path = "/api/v2/wishlists/wl_nonexistent/share"
        self._do("8 an unknown list", 404, "POST", path, "req_ws_008_notfound", body)

    def foreign_list(self) -> None:
        """Somebody else's list."""
        body = {"channel": "copy_link", "expires_in_days": 30}
        path = "/api/v2/wishlists/wl_other_user_list/share"
        self._do("9 somebody else's list", 403, "POST", path, "req_ws_009_forbidden", body)

    def _do(
        self,
        title: str,
        expected: int,
        method: str,
        path: str,
        request_id: str,
        body: Mapping[str, Any] | None = None,
        *,
        user: str | None = "user_maya",
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        sent = {"X-Request-ID": request_id, **(headers or {})}
        if user and not headers:
            sent["Authorization"] = self._sign_in[user]
        answer = self._http.request(method, path, json=body, headers=sent)
        self._console.print(f"\n[bold]{title}[/]")
        self._console.print(f"  [cyan]{method}[/] {path}" + (f"  [dim]{dict(body)}[/]" if body else ""))
        colour = "green" if answer.status_code == expected else "red"
        took = f"{answer.elapsed.total_seconds() * 1000:.0f} ms"
        told = "  ".join(f"{name}: {answer.headers[name]}" for name in SHOWN_HEADERS if name in answer.headers)
        self._console.print(f"  [{colour}]{answer.status_code} {answer.reason_phrase}[/]  [dim]{took}  {told}[/]")
        self._expect(answer.status_code == expected, f"{title}: {expected} was expected, {answer.status_code} came")
        self._expect(answer.headers.get("x-request-id") == request_id, f"{title}: the request id comes back")
        if "json" not in answer.headers.get("content-type", ""):
            return None
        content = answer.json()
        for name, value in (content.get("wishlist") or content).items():
            shown = f"{len(value)} items, the first {value[0]['name']}" if isinstance(value, list) and value else value
            self._console.print(f"      [dim]{name:<20}[/] {shown}")
        return content

    def _expect(self, true: bool, what: str) -> None:
        if not true:
            self.surprises.append(what)

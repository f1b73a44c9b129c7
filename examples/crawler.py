"""An async crawler that is polite: all its copies together have five requests in flight for each host.

    pip install throttle-client httpx
    throttle -c crawler.toml &
    python -m http.server 8080 &
    THROTTLE_URL=http://localhost:8000 python crawler.py http://localhost:8080/

Start it as often as you like, on as many machines as you like. `crawler.toml` lists the hosts, each with a
semaphore of its own; links to other hosts are not followed.

If a slot is lost (an operator took it away, or the network was cut for longer than the lease), somebody else
may have it by now. So the request is cancelled at once, and made again with a new slot.
"""

import argparse
import asyncio
import html
import re
import sys
from contextlib import suppress

import httpx
from throttle_client import LockLost, UnknownSemaphore, lock

LINK = re.compile(r"""<a\s[^>]*href=["']([^"'#]+)""", re.IGNORECASE)
ATTEMPTS = 3


class Crawler:
    """Visits every page that it finds, each in a task of its own."""

    def __init__(
        self, http: httpx.AsyncClient, tasks: asyncio.TaskGroup, most_pages: int, ttl: float
    ) -> None:
        self._http = http
        self._tasks = tasks
        self._most_pages = most_pages
        self._ttl = ttl
        self._seen: set[httpx.URL] = set()

    def add(self, url: httpx.URL) -> None:
        """Visits the page, unless it was seen before or there are enough."""
        if url.scheme in ("http", "https") and url not in self._seen and len(self._seen) < self._most_pages:
            self._seen.add(url)
            self._tasks.create_task(self._visit(url))

    async def _visit(self, url: httpx.URL) -> None:
        for _ in range(ATTEMPTS):
            try:
                page = await self._fetch(url)
            except LockLost as loss:
                print(f"again  {url}  {loss}", flush=True)
            except UnknownSemaphore:
                print(f"no     {url}  the host is not configured", flush=True)
                return
            except httpx.HTTPError as error:
                print(f"error  {url}  {error!r}", flush=True)
                return
            else:
                print(f"{page.status_code}    {url}", flush=True)
                for link in LINK.findall(page.text):
                    with suppress(httpx.InvalidURL):
                        self.add(url.join(html.unescape(link)))
                return
        print(f"error  {url}  the slot was lost {ATTEMPTS} times", flush=True)

    async def _fetch(self, url: httpx.URL) -> httpx.Response:
        # "cancel" ends the request as soon as the slot is lost; LockLost then comes out of the `async with`.
        async with lock(None, f"host/{url.host}", ttl=self._ttl, on_lost="cancel"):
            return await self._http.get(url)


async def crawl(starts: list[str], most_pages: int, ttl: float) -> None:
    """Visits these pages, and all that can be reached from them."""
    # No limit here but the server's: who has a slot must not wait for a connection.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
    async with httpx.AsyncClient(limits=limits, timeout=60) as http, asyncio.TaskGroup() as tasks:
        crawler = Crawler(http, tasks, most_pages, ttl)
        for start in starts:
            crawler.add(httpx.URL(start))


def main() -> int:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url", nargs="+", help="where to begin")
    parser.add_argument("--pages", type=int, default=1000, metavar="N", help="at most so many (default 1000)")
    parser.add_argument(
        "--ttl",
        type=float,
        default=30,
        metavar="S",
        help="how long a dead crawler keeps its slots (default 30)",
    )
    arguments = parser.parse_args()
    asyncio.run(crawl(arguments.url, arguments.pages, arguments.ttl))
    return 0


if __name__ == "__main__":
    sys.exit(main())

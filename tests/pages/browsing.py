"""Asks for pages as a browser without scripts does, and reads what they show."""

from collections.abc import Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.parse import parse_qs, urlencode, urlsplit

from tests.pages.visitor import Visitor
from tests.running_server import Answer

# Elements without an end (HTML Standard, 13.1.2).
_VOID = frozenset({"meta", "link", "input", "br", "img", "hr"})


class Page(HTMLParser):
    """What stands in a page: its text, its elements by tag, and its links."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.status = answer.status
        self.html = answer.body.decode()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(self.html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        """All text, with single blanks."""
        return " ".join(" ".join(self.texts).split())

    def all(self, tag: str, **attributes: str) -> list[dict[str, str]]:
        """Return the attributes of all elements of a tag that have those given."""
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
        return [
            found
            for name, found in self.elements
            if name == tag and all(found.get(key) == value for key, value in wanted.items())
        ]

    def links(self, path: str) -> list[dict[str, str]]:
        """Return the parameters of all links to a path."""
        addresses = [urlsplit(found["href"]) for found in self.all("a") if "href" in found]
        return [
            {name: values[0] for name, values in parse_qs(address.query).items()}
            for address in addresses
            if address.path == path
        ]


@dataclass(frozen=True)
class Browsing:
    """Somebody who is logged in, and looks at pages."""

    visitor: Visitor

    def get(self, path: str, parameters: Mapping[str, object] = {}) -> Answer:
        """Return the answer to a request for a page."""
        return self.visitor.get(f"{path}?{urlencode(parameters)}" if parameters else path)

    def see(self, path: str, status: int = 200, /, **parameters: object) -> Page:
        """Return a page; a trailing _ of a parameter's name is for words of Python."""
        answer = self.get(path, {name.rstrip("_"): value for name, value in parameters.items()})
        assert answer.status == status, answer.body
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        page = Page(answer)
        assert page.open == []
        return page

"""`make docs`: the guide as a site, built strictly and without a network; every page is in it and every link leads
somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from html import unescape
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[2]
TARGET = re.compile(r'(?:href|src)="?([^"\s>]+)')
ANCHOR = re.compile(r'\bid="?([^"\s>]+)')


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_page_is_in_the_site_and_in_its_menu(site: Path) -> None:
    menu = (site / "index.html").read_text(encoding="utf-8")
    pages = [path.stem for path in (ROOT / "docs").glob("*.md")]

    assert not [page for page in pages if not (site / f"{page}.html").exists()]
    assert not [page for page in pages if not re.search(rf'href="?(\./)?{page}\.html', menu)]


def test_every_link_leads_to_a_page_and_a_place_on_it(site: Path) -> None:
    dead = []
    for page in sorted(site.glob("*.html")):
        if page.name == "404.html":  # its links begin at the root of a server
            continue
        for link in TARGET.findall(page.read_text(encoding="utf-8")):
            url = urlsplit(unescape(link))
            target = page if not url.path else page.parent / unquote(url.path)
            if url.scheme or url.netloc:
                continue
            if not target.exists() or (url.fragment and unquote(url.fragment) not in anchors(target)):
                dead.append(f"{page.name}: {link}")
    assert not dead


def anchors(page: Path) -> list[str]:
    return ANCHOR.findall(page.read_text(encoding="utf-8"))


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    for page in site.glob("*.html"):
        loaded = re.findall(r"<(?:script|link|img)\b[^>]*(?:src|href)=\"?(https?:[^\s\">]+)", page.read_text("utf-8"))
        assert not loaded, page.name

from __future__ import annotations

import html.parser
import json

from hypothesis import given
from hypothesis import strategies as st

from primus.report.data import page_data, read_runs
from primus.report.page import for_script, render, watch_report, write_report
from primus.run import RunDirectory, Status

EVIL = "</script><script>alert(1)</script><!--<script>&\"'\u2028"


class Parsed(html.parser.HTMLParser):
    """What a page is made of."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def test_the_page_needs_nothing_from_elsewhere(runs):
    page = render(page_data(read_runs([runs.make("r1")])))

    assert not [tag for tag, names in Parsed(page).tags if tag == "link" or {"src", "href"} & set(names)]
    assert "default-src 'none'" in page
    assert "@import" not in page


def test_names_and_messages_can_not_become_markup(runs):
    clean = render(page_data(read_runs([runs.make("r1")])))
    path = runs.make("r2", state="failed", cause=EVIL, log=f"Warning: step 3: {EVIL}\n", values={EVIL: EVIL})

    page = render({**page_data(read_runs([path])), "title": EVIL})

    assert [tag for tag, _ in Parsed(page).tags] == [tag for tag, _ in Parsed(clean).tags]
    assert "alert(1)</script>" not in page


@given(
    st.recursive(st.text() | st.sampled_from(["</script>", "<!--", "]]>"]), lambda inner: st.lists(inner, max_size=3))
)
def test_data_comes_out_of_the_page_as_it_went_in(data):
    text = for_script(json.dumps(data))

    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == data


def test_a_page_of_runs_that_are_over_does_not_read_itself_again(runs, tmp_path):
    assert write_report([runs.make("r1")], tmp_path / "page.html", reload=5)

    assert '"reload":null' in (tmp_path / "page.html").read_text()


def test_watching_writes_until_the_run_is_over(runs, tmp_path):
    path, page = runs.make("r1", state="running", host="elsewhere"), tmp_path / "page.html"
    told, waits = [], []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        assert '"reload":2' in page.read_text()
        if len(waits) == 2:
            RunDirectory(path).write_status(Status(state="succeeded", exit_status=0))

    watch_report([path], page, seconds=2, written=lambda: told.append(page.exists()), sleep=sleep)

    assert (waits, told) == ([2, 2], [True])
    assert '"reload":null' in page.read_text()
    assert [each.name for each in tmp_path.iterdir() if "partial" in each.name] == []

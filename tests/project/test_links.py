"""Links between the pages of the repository lead somewhere, and files that pages name exist."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob('*.md'), *ROOT.glob('docs/**/*.md'), *ROOT.glob('stfc3_tf/**/*.md')])
DOCS = sorted(ROOT.glob('docs/*.md'))
EACH_PAGE = pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))
_LINK = re.compile(r'\]\((?!https?:|mailto:)([^)\s]+)\)')
_FILE = re.compile(
    r'(?<![\w/.-])(?:gin|tools|tests|stfc3_tf|docs)/[\w/.-]+\.(?:py|gin|sh|md|json|csv)\b'
)
_LONGEST = 100


def prose(page):
    """Return a page without its blocks of code."""
    return re.sub(r'^ *```.*?^ *```', '', page.read_text(), flags=re.MULTILINE | re.DOTALL)


def links(page):
    """Return the targets of a page's links, without those into the web."""
    return _LINK.findall(re.sub(r'`[^`\n]*`', '', prose(page)))


def anchors(page):
    """Return the anchors of the headings of a page."""
    heads = re.findall(r'^#+ (.+)$', prose(page), re.MULTILINE)
    plain = (re.sub(r'[^\w\- ]', '', head.lower()) for head in heads)
    return {text.strip().replace(' ', '-') for text in plain}


@EACH_PAGE
def test_links_of_a_page_lead_somewhere(page):
    for link in links(page):
        path, _, anchor = link.partition('#')
        target = (page.parent / path) if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize('page', DOCS, ids=lambda page: page.name)
def test_files_that_a_page_names_exist(page):
    missing = {name for name in _FILE.findall(page.read_text()) if not (ROOT / name).exists()}
    assert not missing


def test_links_and_files_are_found():
    assert sum(len(links(page)) for page in PAGES) > 50
    assert sum(len(_FILE.findall(page.read_text())) for page in DOCS) > 50


@EACH_PAGE
def test_lines_of_prose_are_short(page):
    lines = prose(page).split('\n')
    long = [line for line in lines if len(line) > _LONGEST and not line.startswith('|')]
    assert not long

"""Reports as pages, Markdown and JSON: parsed again, and held against the data."""

import json
import re
import shutil
import subprocess
import zlib
from base64 import b64decode
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from problems import numbers
from reported import ALPHA, report, table_of

import mad
from mad.reports import RENDERERS, Directed, Flagging, Gathered, Report, rendered, report_of
from mad.reports.json import SCHEMA, schema
from mad.reports.png import AMOUNTS, SIGNED, png

pytest.importorskip("jinja2")

HOSTILE = '"><script>alert(1)</script><img src=x onerror="alert(2)">|`a`\n[b](c) &amp; @d'
VOID = {"meta", "img", "input", "link", "br"}
TEMPLATES = Path(mad.__file__).parent / "reports" / "templates"


class Page(HTMLParser):
    """The elements of a page, the text of each, and whether they close as they should."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def said(self, tag: str) -> list[str]:
        return [text for name, text in self.texts if name == tag]


@pytest.fixture(scope="module")
def made(small_run) -> Report:
    run, x = small_run
    detector = mad.Detector.fit(run, x.numpy())
    inputs = 3 * numbers(41)(60, 5).numpy()
    gathered = Gathered(detector.calibration)
    gathered.note(table_of(detector.score(inputs)))
    return report_of(
        gathered,
        Flagging(alpha=ALPHA, fdr=None),
        detector=detector,
        x=dict(enumerate(inputs)),
        directing=lambda c: Directed(HOSTILE, np.arange(36.0).reshape(1, 6, 6) - c, np.arange(5.0)),
        provenance={HOSTILE: HOSTILE},
        left_out=[HOSTILE],
    )


@pytest.fixture(scope="module")
def text(made) -> str:
    return rendered(made, ".html")


@pytest.fixture(scope="module")
def page(text) -> Page:
    return Page(text)


def test_the_page_says_what_the_report_holds(made, page):
    assert made.verdict.sentence in page.said("p")
    assert made.verdict.sentence.startswith(f"{made.verdict.flagged} of {made.verdict.scored} ")
    assert page.said("title")[0] == made.title
    links = [a["href"] for a in page.all("a") if a["href"].startswith("#input-")]
    assert links == [f"#input-{card.row.index}" for card in made.cards]
    values = [tag["data-value"] for tag in page.all("th") if "data-value" in tag]
    assert values == [str(row.index) for row in made.rows]
    assert len(page.all("article")) == len(made.cards) == 20


def test_a_distance_and_its_unit_stay_on_one_line(made, page):
    distances = [near.distance for card in made.cards for near in card.neighbours]
    units = [
        f"{distance:.3g}\N{NO-BREAK SPACE}\N{GREEK SMALL LETTER SIGMA}" for distance in distances
    ]
    said = [text.rpartition(" ")[2] for text in page.said("span") if ", at " in text]
    assert said == units != []


def test_the_page_loads_nothing(text, page):
    words = re.sub(r"data:image/png;base64,[\w+/=]+", "", text)
    assert not re.search(r"https?:|url\(|@import|//[a-z]", words, re.IGNORECASE)
    assert not page.all("link")
    assert [tag for tag in page.all("script") if tag] == []
    assert {tag["src"].partition(",")[0] for tag in page.all("img")} == {"data:image/png;base64"}
    assert all(tag["href"].startswith("#") for tag in page.all("a"))
    (policy,) = [m for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert policy["content"].startswith("default-src 'none'; img-src data:")


def test_other_peoples_words_are_words(made, text, page):
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert len(page.all("script")) == 1
    assert [tag for tag in page.elements if "onerror" in tag[1]] == []
    for tag in ("dt", "dd", "li"):
        assert HOSTILE in page.said(tag)
    assert any(HOSTILE in (tag["alt"] or "") for tag in page.all("img"))


def test_the_page_can_be_used_without_eyes_or_mouse(text, page):
    assert page.all("html")[0]["lang"] == "en"
    assert all(tag["scope"] in ("row", "col") for tag in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(tag["alt"] for tag in page.all("img"))
    ids = [tag["id"] for _, tag in page.elements if "id" in tag]
    assert len(ids) == len(set(ids))
    named = [tag["aria-labelledby"] for _, tag in page.elements if "aria-labelledby" in tag]
    targets = [tag["href"][1:] for tag in page.all("a")]
    assert set(named) | set(targets) <= set(ids)
    assert {tag for tag, _ in page.elements} >= {"header", "main", "nav", "section", "label"}
    regions = [tag for _, tag in page.elements if tag.get("role") == "region"]
    assert all(
        "tabindex" in tag and {"aria-label", "aria-labelledby"} & set(tag) for tag in regions
    )
    headings = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert headings[0] == 1
    assert all(b - a <= 1 for a, b in pairwise(headings))
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
    assert ":focus-visible" in text


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    parts = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_colours_stand_out():
    """4.5 to 1 for words, 3 to 1 for what is drawn (WCAG 2.2, 1.4.3 and 1.4.11)."""
    style = (TEMPLATES / "report.css").read_text()
    themes = [dict(re.findall(r"--(\w+): (#\w{6})", block)) for block in style.split("@media")]
    themes = [theme for theme in themes if theme]
    assert len(themes) == 3
    for theme in themes:
        for under in ("paper", "panel"):
            for name, least in [
                *[(name, 4.5) for name in ("ink", "quiet", "link")],
                *[(name, 3.0) for name in ("batch", "other", "usual", "alarm")],
            ]:
                high, low = sorted((luminance(theme[name]), luminance(theme[under])), reverse=True)
                assert (high + 0.05) / (low + 0.05) >= least, (name, under, theme)


def test_every_picture_is_well_formed_and_says_what_it_is(text, made):
    drawings = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(drawings) > 2 * len(made.cards)
    trees = [ElementTree.fromstring(drawing) for drawing in drawings]
    for tree in trees:
        assert tree[0].tag == "title"
        assert tree[0].text
        assert tree.get("role") == "img"
        assert not re.search("nan|inf", " ".join(v for e in tree.iter() for v in e.attrib.values()))
    bars = [e for e in trees[0].iter("rect") if e.get("class") == "batch"]
    assert len(bars) == sum(count > 0 for count in made.scores.batch)
    heights = np.array([float(bar.get("height")) for bar in bars])
    counts = np.array([count for count in made.scores.batch if count])
    np.testing.assert_allclose(heights / heights.max(), counts / counts.max(), atol=0.001)


def test_a_card_says_what_a_term_is_worth(text, made):
    (card,) = re.findall(rf'<article id="input-{made.cards[3].row.index}".*?</article>', text, re.S)
    words = ElementTree.fromstring(re.findall(r"<svg.*?</svg>", card, re.S)[1]).itertext()
    row = made.cards[3].row
    assert {f"{row.terms['mask_bits']:,.1f}", f"{row.terms['output_bits']:,.1f}"} <= set(words)


@pytest.mark.parametrize("signed", [False, True])
def test_pictures_hold_their_levels(signed):
    """Chunks read by their lengths, checked by zlib; the palette runs from colour to colour."""
    levels = np.random.default_rng(3).integers(0, 256, (5, 7))
    data = png(levels.tolist(), signed=signed)
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = {}, 8
    while at < len(data):
        size = int.from_bytes(data[at : at + 4])
        kind, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        assert int.from_bytes(data[at + 8 + size : at + 12 + size]) == zlib.crc32(kind + content)
        chunks[kind] = content
        at += 12 + size
    assert list(chunks) == [b"IHDR", b"PLTE", b"IDAT", b"IEND"]
    assert chunks[b"IHDR"] == bytes([0, 0, 0, 7, 0, 0, 0, 5, 8, 3, 0, 0, 0])
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(5, 8)
    np.testing.assert_array_equal(rows[:, 1:], levels)
    colours = np.frombuffer(chunks[b"PLTE"], np.uint8).reshape(256, 3)
    stops = SIGNED if signed else AMOUNTS
    assert [tuple(colours[0]), tuple(colours[-1])] == [stops[0], stops[-1]]


def test_the_page_shows_the_pictures_of_the_report(made, page):
    (read,) = {card.reasons[0].directions.read for card in made.cards[:1]}
    shown = [b64decode(tag["src"].partition(",")[2]) for tag in page.all("img")]
    assert png(read.levels, signed=True) in shown


def test_markdown_is_a_table_a_line_of_which_is_an_input(made):
    text = rendered(made, ".md")
    assert made.verdict.sentence in text
    inputs = text.partition("## Most surprising inputs")[2].partition("## Components")[0]
    lines = [line for line in inputs.splitlines() if line.startswith("| ")]
    assert [line.split("|")[1].strip() for line in lines[2:]] == [
        str(row.index) for row in made.rows[:20]
    ]
    for line in text.splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) in (3, 6, 8)
    more = made.verdict.flagged - sum(row.flagged for row in made.rows[:20])
    assert (f"{more} more flagged input" in text) == (more > 0)
    assert not re.search(r"(?<!\\)<", text)
    assert "\\`a\\` \\[b\\](c) \\&amp; \\@d" in text


def test_json_is_the_report_and_keeps_to_the_published_schema(made):
    text = rendered(made, ".json")
    assert Report.model_validate_json(text) == made
    assert SCHEMA.read_text() == schema()
    published = json.loads(SCHEMA.read_text())
    assert set(json.loads(text)) == set(published["properties"]) == set(published["required"])


@pytest.fixture(scope="module")
def hundred_thousand() -> Report:
    """Rows with nothing behind them, in blocks."""
    rng = np.random.default_rng(8)
    gathered = Gathered()
    for first in range(0, 100_000, 1000):
        bits = rng.standard_cauchy(1000) * 100
        table = {
            "index": np.arange(first, first + 1000),
            "score_bits": bits,
            "p_value": rng.integers(1, 5001, 1000) / 5000,
            "flagged": bits > 200,
            "prediction": rng.integers(0, 9, 1000),
            "mask_bits": bits / 2,
            "status": np.full(1000, "ok"),
        }
        for k in range(1, 6):
            table[f"component_{k}"] = rng.integers(0, 900, 1000)
            table[f"component_{k}_bits"] = bits / k
        gathered.note(table)
    return report(gathered)


def test_a_hundred_thousand_rows_are_a_small_file(hundred_thousand):
    told = hundred_thousand
    assert told.verdict.scored == sum(told.scores.batch) == 100_000
    assert "where at most 10,000 false alarms are expected" in told.verdict.sentence
    assert len(told.rows) == 300
    assert told.rows_left_out == told.verdict.flagged - 300 > 10_000
    assert len(told.p_values.p) <= 200
    assert len(told.scores.edges) <= 62
    for suffix in RENDERERS:
        assert len(rendered(told, suffix).encode()) < 500_000
    assert len(Page(rendered(told, ".html")).all("article")) == 0


# --- the script ---------------------------------------------------------------------------------

DOM = """
const cell = (text, value) => ({textContent: text, dataset: {value}});
class Header {
  constructor(text) { this.textContent = text; this.attributes = {}; }
  getAttribute(name) { return this.attributes[name] ?? null; }
  setAttribute(name, value) { this.attributes[name] = value; }
  removeAttribute(name) { delete this.attributes[name]; }
  replaceChildren(button) { this.button = button; }
}
const data = [
  ["3", "1.5", "9 (2.0)"], ["10", "None", "unused (1.0)"], ["7", "-2", ""], ["1", "40", "12 (0.5)"],
];
const rows = data.map(([input, bits, named]) => ({
  cells: [cell(input, input), cell(bits, bits), cell(named)],
  textContent: `${input} ${bits} ${named}`,
  hidden: false,
}));
let order = [...rows];
const headers = [new Header("Input"), new Header("Bits"), new Header("Components (bits)")];
const table = {
  tBodies: [{rows, append: (...all) => { order = all; }}],
  tHead: {rows: [{cells: headers}]},
};
const filter = {value: "", addEventListener(_, f) { this.on = f; }};
const named = {rows: table, filter, count: {}};
globalThis.document = {
  getElementById: id => named[id],
  querySelector: () => ({}),
  createElement: () => ({addEventListener(_, f) { this.click = f; }}),
};
"""
STEPS = """
const seen = () => [order.map(r => r.cells[0].textContent), headers.map(h => ({...h.attributes}))];
const said = [];
headers[1].button.click(); said.push(seen());
headers[1].button.click(); said.push(seen());
headers[0].button.click(); said.push(seen());
headers[2].button.click(); headers[2].button.click(); said.push(seen());
const shown = () => [rows.map(r => r.hidden), named.count.textContent];
filter.value = " 40 "; filter.on(); said.push(shown());
filter.value = ""; filter.on(); said.push(shown());
console.log(JSON.stringify(said));
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_the_script_sorts_and_filters_and_loses_no_row():
    program = DOM + (TEMPLATES / "report.js").read_text().replace('"use strict";', "") + STEPS
    done = subprocess.run(["node", "-e", program], capture_output=True, text=True, check=True)
    down, up, other, words, found, everything = json.loads(done.stdout)
    assert down == [["1", "3", "7", "10"], [{}, {"aria-sort": "descending"}, {}]]
    assert up == [["10", "7", "3", "1"], [{}, {"aria-sort": "ascending"}, {}]]
    assert other == [["10", "7", "3", "1"], [{"aria-sort": "descending"}, {}, {}]]
    assert words == [["7", "3", "1", "10"], [{}, {}, {"aria-sort": "ascending"}]]
    assert found == [[True, True, True, False], "1 of 4 rows"]
    assert everything == [[False] * 4, "4 of 4 rows"]

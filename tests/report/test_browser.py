"""The page in a real browser: it fits, it answers to mouse, keyboard and touch, and nothing goes wrong."""

import re
import shutil
from dataclasses import replace

import pytest
from playwright.sync_api import expect, sync_playwright

from bench.report.build import judged_tables
from bench.report.formats.html import render
from bench.report.margins import load_margins
from bench.report.paper import paper_tables
from tests.report.builders import AWKWARD, WHEN, Curve, build_table, measured, toy_data, with_curves
from tests.report.made_up import whole_data
from tests.report.verdicts import judged_table, toy_judgement

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (make system-deps)"),
]

TASKS = ("hopper-medium-v2", "walker2d-medium-v2", "halfcheetah-medium-v2")
METHODS = ("dtql", "srpo")
OVERFLOW = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
CUT = """() => [...document.querySelectorAll(".stacked tbody td, .stacked tbody th, .suite *")]
  .filter((each) => each.checkVisibility() && each.clientWidth && each.scrollWidth > each.clientWidth + 1)
  .map((each) => each.textContent)"""
BADLY_SHOWN = """() => {
  const card = document.getElementById("card");
  const wrong = [];
  for (const link of [...document.querySelectorAll("a.number")].filter((each) => each.checkVisibility())) {
    for (const block of ["start", "center", "end"]) {
      link.blur();
      document.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));
      link.scrollIntoView({ block });
      link.focus();
      const [box, at] = [card.getBoundingClientRect(), link.getBoundingClientRect()];
      const beside = box.left >= at.right || at.left >= box.right;
      const apart = beside || box.top >= at.bottom || at.top >= box.bottom;
      const whole = innerWidth < 600 || card.scrollHeight <= card.clientHeight + 1;
      const inside = box.top >= 0 && box.left >= 0 && box.right <= innerWidth && box.bottom <= innerHeight;
      const shown = card.matches(":popover-open");
      if (!(shown && apart && whole && inside)) wrong.push([link.textContent, block, apart, whole, inside]);
    }
  }
  return wrong;
}"""
"""Numbers whose details cover them, are cut, or leave the window, wherever in it the number stands."""
LOW_CONTRAST = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgba = (css) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = css; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].map((value) => value / 255);
  };
  const light = ([r, g, b]) => [r, g, b].map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = rgba(getComputedStyle(at).backgroundColor);
      if (colour[3] > 0.99) return colour;
    }
    return rgba("Canvas");
  };
  const seen = new Map();
  for (const element of document.querySelectorAll("body *:not(script, style, svg *)")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.checkVisibility() || element.closest("option")) continue;
    const [a, b] = [light(rgba(getComputedStyle(element).color)), light(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) seen.set(`${element.tagName}.${element.className}`, ratio);
  }
  return [...seen];
}"""


def _data():
    """What the toy page shows, two methods on three tasks of DTQL's Table 1, and their curves."""
    data = toy_data()
    entries = [
        measured(
            task, (80.0 + place, 85.0, 90.0), algorithm=algorithm, config_hash=f"{place}{algorithm}" * 10
        )
        for place, task in enumerate(TASKS)
        for algorithm in METHODS
    ]
    curves = [
        Curve(entry.task, entry.algorithm, entry.variant, entry.config_hash, seed, (50, 100), (9.0, 20.0))
        for entry in entries
        for seed in range(3)
    ]
    more = with_curves((*data.measured, *entries), curves)
    return replace(data, measured=more["measured"], steps=data.steps | more["steps"])


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The page as a file."""
    data, judgement = _data(), toy_judgement()
    tables = [judged_table(), *(build_table(name, data, judgement) for name in paper_tables())]
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render(tables, data, WHEN, judgement), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def whole_address(tmp_path_factory):
    """The page of four methods on all domains as a file."""
    data = whole_data()
    tables, judgement = judged_tables("all", data, load_margins())
    path = tmp_path_factory.mktemp("whole") / "report.html"
    path.write_text(render(tables, data, WHEN, judgement, "bench.sqlite"), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM)
        yield started
        started.close()


@pytest.fixture
def opened(browser, address):
    """Opens the page in a window of its own; fails on errors in the console and on any request."""
    contexts, troubles = [], []

    def opening(width=1400, height=900, hash_="", at=address, **settings):
        context = browser.new_context(viewport={"width": width, "height": height}, **settings)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on(
            "request",
            lambda request: request.url.startswith(("file:", "data:")) or troubles.append(request.url),
        )
        page.goto(at + hash_)
        return page

    yield opening
    for context in contexts:
        context.close()
    assert troubles == []


def _column(page, table, header):
    """Texts of a column's cells, top down, hidden rows left out."""
    heads = page.locator(f"{table} thead th").all_inner_texts()
    place = next(at for at, text in enumerate(heads) if text.strip().startswith(header)) + 1
    return page.locator(f"{table} tbody tr:visible > *:nth-child({place})").all_inner_texts()


def _number(page):
    """The judged number of the toy table."""
    return page.locator("#toy-1 td[data-verdict=reproduced] a.number").first


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
def test_nothing_is_wider_than_the_window_and_all_text_stands_out(opened, width, scheme):
    page = opened(width, color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    needed, available = page.evaluate(OVERFLOW)
    assert needed <= available == width
    assert page.evaluate(LOW_CONTRAST) == []
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == (
        "rgb(255, 255, 255)" if scheme == "light" else "rgb(18, 22, 26)"
    )


def test_a_cut_table_says_so_until_it_is_scrolled_to_its_end(opened):
    page = opened(800)
    frame = page.locator("#dtql-1 .frame").first
    expect(frame.locator(".more")).to_be_visible()
    frame.locator(".wide").evaluate("(box) => { box.scrollLeft = box.scrollWidth; }")
    expect(frame.locator(".more")).to_be_hidden()


def test_methods_are_filtered_in_tables_verdicts_and_figures_and_the_address_keeps_it(opened, address):
    page = opened()
    page.get_by_role("button", name="srpo", exact=True).click()
    expect(page).to_have_url(address + "#?method=srpo")
    for again in (False, True):
        if again:
            page.reload()
        expect(page.locator("#verdicts tbody tr:visible")).to_have_count(0)
        heads = page.locator("#dtql-1 .block:visible").first.locator("thead th:visible").all_inner_texts()
        assert [head.split()[0] for head in heads] == ["Gym", "SRPO", "SRPO"]
        expect(page.locator("#toy-1")).to_be_hidden()
        page.locator("#making > details").evaluate("(fold) => { fold.open = true; }")
        shown = page.locator("#making .making:visible > summary").all_inner_texts()
        assert [text.partition(" ")[0] for text in shown] == ["srpo"] * 3
        expect(page.locator("figure[data-methods='dtql']:visible")).to_have_count(0)
        assert page.get_by_role("button", name="srpo", exact=True).get_attribute("aria-pressed") == "true"
    page.get_by_role("button", name="Show all").click()
    expect(page).to_have_url(address)
    expect(page.locator("#verdicts tr[data-verdict]:visible")).to_have_count(3)
    expect(page.locator("#toy-1")).to_be_visible()


def test_tasks_are_filtered_by_any_words_of_their_name(opened, address):
    page = opened()
    page.get_by_label("Task", exact=True).fill("MEDIUM hopper")
    expect(page).to_have_url(address + "#?task=MEDIUM%20hopper")
    assert _column(page, "#dtql-1 .block:first-of-type", "Gym") == [
        "hopper-medium-v2", "hopper-medium-replay-v2", "hopper-medium-expert-v2",
    ]  # fmt: skip
    assert _column(page, "#verdicts .frame:first-of-type", "Task") == ["hopper-medium-v2"]
    expect(page.locator("#learning-curves figure:visible")).to_have_count(1)
    page.get_by_label("Task", exact=True).fill("none such")
    expect(page.locator("#tables details.table:visible table tr[data-task]:visible")).to_have_count(0)


def test_verdicts_are_filtered_from_an_address_too(opened, address):
    page = opened(hash_="#verdicts?verdict=below,inconclusive")
    shown = page.locator("#verdicts tr[data-verdict]:visible .verdict").all_inner_texts()
    assert [re.sub(r"^\W+", "", text) for text in shown] == ["not reproduced, below", "inconclusive"]
    expect(page.locator("#toy-1")).to_be_hidden()
    expect(page.locator("#shown")).to_have_text("Shows 2 of 5 verdicts.")
    assert page.locator("#verdicts").evaluate("(section) => section.getBoundingClientRect().top") < 200
    page.get_by_role("link", name="Learning curves").click()
    expect(page).to_have_url(address + "#learning-curves?verdict=below,inconclusive")


def test_a_verdict_that_is_asked_for_unfolds(opened):
    page = opened()
    reproduced = page.locator("#verdicts tr[data-verdict=reproduced]")
    expect(reproduced).to_be_hidden()
    page.get_by_role("button", name="reproduced", exact=True).click()
    expect(reproduced).to_be_visible()


@pytest.mark.parametrize("width", [400, 800, 1400])
def test_all_methods_on_all_domains_fit(opened, whole_address, width):
    page = opened(width, at=whole_address)
    needed, available = page.evaluate(OVERFLOW)
    assert needed <= available == width
    if width == 1400:
        assert page.evaluate("document.documentElement.scrollHeight") <= 9000
    first = page.locator("#measured details.table").first
    assert first.get_attribute("id") == "combined"
    if width == 400:
        assert page.evaluate(CUT) == []
        expect(page.locator(".more:visible")).to_have_count(0)


@pytest.mark.parametrize(("width", "height"), [(1400, 900), (800, 700), (400, 800)])
def test_what_is_known_of_any_number_is_shown_whole(opened, whole_address, width, height):
    page = opened(width, height, at=whole_address)
    page.keyboard.press("Tab")
    assert page.evaluate(BADLY_SHOWN) == []


def test_a_table_is_copied_as_latex_and_as_the_rows_that_stand_there(opened):
    page = opened()
    page.evaluate("navigator.clipboard.writeText = async (text) => { window.copied = text; }")
    line = page.locator("#dtql-1 > .copying")
    line.get_by_role("button", name="Copy LaTeX").click()
    expect(line.get_by_role("button", name="Copied")).to_be_visible()
    latex = page.evaluate("window.copied")
    assert "\\begin{table" in latex
    assert "\\label{tab:dtql-1}" in latex
    page.get_by_label("Task", exact=True).fill("hopper-medium-v2")
    line.get_by_role("button", name="Copy CSV").click()
    first = page.evaluate("window.copied").split("\n\n")[0].split("\n")
    assert first[0].startswith("Gym,BC,")
    assert [row.partition(",")[0] for row in first[1:]] == ["hopper-medium-v2"]
    assert re.search(r",80.0 ± 5.0|,85.0 ± 5.00", first[1])
    expect(line.get_by_role("button", name="Copy LaTeX")).to_be_visible()


def test_every_part_has_a_link_to_itself(opened, address):
    page = opened()
    page.locator("#verdicts > h2 .link").click()
    expect(page).to_have_url(address + "#verdicts")
    for section in page.locator("main > section[id]").all():
        assert section.locator("h2 .link").get_attribute("href") == f"#{section.get_attribute('id')}"


def test_columns_sort_by_mouse_and_keyboard_and_averages_stay_last(opened):
    page = opened()
    block = "#dtql-1 .block:first-of-type"
    before = _column(page, block, "BC")
    numbers = sorted((float(text) for text in before[:-1]), reverse=True)
    head = page.locator(f"{block} thead th", has_text="BC").first
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert [float(text) for text in _column(page, block, "BC")[:-1]] == numbers
    assert _column(page, block, "Gym")[-1] == "Gym Average"
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert [float(text) for text in _column(page, block, "BC")[:-1]] == numbers[::-1]
    page.locator(f"{block} thead th").first.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "none"
    tasks = _column(page, block, "Gym")[:-1]
    assert tasks == sorted(tasks, reverse=True)
    for _ in range(2):
        page.keyboard.press("Space")
    assert _column(page, block, "BC") == before


def test_blank_cells_sort_last_both_ways(opened):
    page = opened()
    block = "#dtql-1 .block:first-of-type"
    head = page.locator(f"{block} thead th", has_text="DTQL measured").get_by_role("button")
    for _ in range(2):
        head.click()
        shown = [bool(text.strip()) for text in _column(page, block, "DTQL measured")[:-1]]
        assert shown == [True] * 3 + [False] * 6


def test_resting_on_a_number_shows_what_is_known_of_it(opened):
    page = opened()
    card, number = page.locator("#card"), _number(page)
    expect(card).to_be_hidden()
    number.hover()
    expect(card).to_be_visible()
    for text in ("n=3", "margin ±5.0", "the last evaluation", "10, 11, 12", "no difference that matters"):
        expect(card).to_contain_text(text)
    box = card.bounding_box()
    assert box["x"] >= 0 and box["y"] >= 0
    assert box["x"] + box["width"] <= 1400 and box["y"] + box["height"] <= 900
    card.hover()
    page.wait_for_timeout(400)
    expect(card).to_be_visible()
    page.keyboard.press("Escape")
    expect(card).to_be_hidden()
    number.hover()
    expect(card).to_be_visible()
    page.mouse.move(5, 5)
    expect(card).to_be_hidden()


def test_the_keyboard_reaches_a_number_and_follows_it(opened):
    page = opened()
    number, card = _number(page), page.locator("#card")
    number.evaluate("""(link) => {
      const all = [...document.querySelectorAll("a[href], button, summary, input, [tabindex]")]
        .filter((each) => each.checkVisibility());
      all[all.indexOf(link) - 1].focus();
    }""")
    page.keyboard.press("Tab")
    expect(number).to_be_focused()
    expect(card).to_be_visible()
    assert number.get_attribute("aria-describedby") == "card"
    page.keyboard.press("Enter")
    expect(card).to_be_hidden()
    target = page.locator(number.get_attribute("href"))
    expect(target).to_be_in_viewport()
    page.keyboard.press("Tab")
    page.go_back()
    expect(number).to_be_visible()


def test_a_touch_shows_the_details_at_the_foot_of_a_phone(opened):
    page = opened(400, 800, has_touch=True, is_mobile=True)
    card, number = page.locator("#card"), _number(page)
    number.tap()
    expect(card).to_be_visible()
    box, of_number = card.bounding_box(), number.bounding_box()
    assert (box["x"], box["width"]) == (0, 400)
    assert box["y"] + box["height"] == pytest.approx(800, abs=1)
    assert of_number["y"] + of_number["height"] <= box["y"]
    expect(card).to_contain_text("margin ±5.0")
    page.touchscreen.tap(200, 5)
    expect(card).to_be_hidden()


def test_the_theme_follows_the_system_until_it_is_chosen(opened):
    page = opened(color_scheme="dark")
    dark, light = "rgb(18, 22, 26)", "rgb(255, 255, 255)"
    expect(page.locator("body")).to_have_css("background-color", dark)
    page.emulate_media(color_scheme="light")
    expect(page.locator("body")).to_have_css("background-color", light)
    page.get_by_role("button", name="Dark theme").click()
    expect(page.locator("body")).to_have_css("background-color", dark)
    page.reload()
    expect(page.locator("body")).to_have_css("background-color", dark)
    expect(page.get_by_role("button", name="Light theme")).to_be_visible()


def test_on_paper_it_is_light_whole_and_without_controls(opened):
    page = opened(1040, color_scheme="dark")
    page.emulate_media(media="print")
    expect(page.locator("body")).to_have_css("background-color", "rgb(255, 255, 255)")
    for control in ("#filter", "#theme", "nav"):
        expect(page.locator(control)).to_be_hidden()
    expect(page.locator("#verdicts tr[data-verdict=reproduced]")).to_be_visible()
    needed, available = page.evaluate(OVERFLOW)
    assert needed <= available
    assert page.pdf(prefer_css_page_size=True).startswith(b"%PDF")


def test_without_scripts_everything_is_there(opened):
    page = opened(java_script_enabled=False)
    for control in ("#filter", "#theme"):
        expect(page.locator(control)).to_be_hidden()
    number = _number(page)
    target = page.locator(number.get_attribute("href"))
    expect(target).to_be_hidden()
    number.click()
    expect(target).to_be_visible()
    expect(target).to_contain_text("margin ±5.0")
    assert AWKWARD in page.locator("#verdicts").text_content()

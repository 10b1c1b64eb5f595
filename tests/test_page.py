"""The page in a real browser: every kind of model, two languages, keyboard alone, errors, nothing from elsewhere."""

import configparser
import contextlib
import functools
import os
import re
import shutil
import sys
from pathlib import Path

import pytest
import tensorflow as tf
from playwright.sync_api import expect, sync_playwright
from test_serve import served

import app.web_page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
OPTIONS = ["--no-sandbox"] if sys.platform == "linux" and os.geteuid() == 0 else []  # Chromium's sandbox refuses root
needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium: install it to test the page")
expect.set_options(timeout=30_000)  # as Playwright's actions have: a machine may be busy
TEXT, CONTEXT = tf.TensorSpec([None], tf.string, name="text"), "玛丽 was born in 1867. In 1891 👩‍🔬 she moved; in 1891!"
LENGTH, WORDS = 10, [f" word{number}" for number in range(1, 15)]


def reviews(text):
    is_good = tf.cast(tf.strings.regex_full_match(text, ".*(good|好).*"), tf.float32)
    second = 0.1 + 0.8 * is_good
    probabilities = tf.stack([0.6 * (1 - second), second, 0.4 * (1 - second)], axis=1)
    return {"label": tf.gather(["negative", "positive", "neither"], tf.argmax(probabilities, 1)),
            "probabilities": probabilities, "score": tf.reduce_max(probabilities, 1)}


def gpt(prompt, seed, token_ids):
    """A text of ten words, four a call."""
    before = tf.shape(token_ids)[1]
    following = before + tf.range(1, 5)
    words = tf.strings.reduce_join(tf.constant(WORDS)[: tf.minimum(before + 4, LENGTH)])
    following = tf.where(following > LENGTH, 0, following)
    return {"text": tf.strings.join([prompt, words]) + tf.strings.substr(tf.strings.as_string(seed), 0, 0),
            "next_token_ids": tf.tile(following[None], [tf.size(prompt), 1])}


def answers(question, context):
    """The last 1891 is the answer, if the text has one."""
    rest = tf.strings.regex_replace(context, "1891!?$", "")
    found = tf.strings.regex_full_match(context, ".*1891.*")
    return {"answer": tf.where(found, "1891", ""), "score": tf.fill(tf.shape(question), 0.5),
            "start": tf.where(found, tf.strings.length(rest, "UTF8_CHAR"), 0)}


def films(history):
    count = tf.reduce_sum(tf.cast(history != "", tf.int32), axis=1)
    titles = tf.tile([["Alien", "Brazil", ""]], [tf.size(count), 1])
    return {"titles": titles, "scores": tf.tile([[0.25, 0.5, 0.0]], [tf.size(count), 1])
            * tf.cast(count, tf.float32)[:, None]}


def numbers(x):
    return {"sum": tf.reduce_sum(x, axis=1)}


def string(name, rank=1):
    return tf.TensorSpec([None] * rank, tf.string, name=name)


MODELS = {
    "reviews": {"serving_default": (reviews, TEXT)},
    "gpt": {"serving_default": (lambda prompt: {"text": prompt}, string("prompt")),
            "continued": (gpt, string("prompt"), tf.TensorSpec([None], tf.int32, name="seed"),
                          tf.TensorSpec([None, None], tf.int32, name="token_ids"))},
    "answers": {"serving_default": (answers, string("question"), string("context"))},
    "films": {"serving_default": (films, string("history", 2))},
    "numbers": {"add": (numbers, tf.TensorSpec([None, 2], tf.float32, name="x"))},
}


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    for name, signatures in MODELS.items():
        module = tf.Module()
        module.functions = {signature: tf.function(function, autograph=False).get_concrete_function(*specs)
                            for signature, (function, *specs) in signatures.items()}
        tf.saved_model.save(module, str(folder / name / "1"), signatures=module.functions)
    extra = folder / "reviews" / "1" / "assets.extra"
    extra.mkdir()
    about = '{"labels": ["negative", "positive", "<b>neither</b>"], "loss": NaN, "least": -Infinity, "most": 1e999}'
    (extra / "fromzero.json").write_text(about)  # numbers that a browser does not read
    (folder / "gpt" / "1" / "assets.extra").mkdir()
    (folder / "gpt" / "1" / "assets.extra" / "fromzero.json").write_text("[")  # is left aside
    with served(*(folder / name for name in MODELS), max_text_length=200) as found:
        yield found


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        with playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS) as found:
            yield found


@pytest.fixture
def visit(browser, client):
    """Opens the page, with options of the browser's context.

    At the end nothing must have come from elsewhere, and no more gone wrong than the server has refused.
    """
    seen = {"requests": [], "errors": [], "refusals": 0}
    with contextlib.ExitStack() as stack:
        def visit(refusals=0, **options):
            context = stack.enter_context(browser.new_context(base_url=str(client.base_url), **options))
            page = context.new_page()
            page.on("request", lambda request: seen["requests"].append(request.url))
            page.on("pageerror", lambda error: seen["errors"].append(str(error)))
            page.on("console", lambda message: message.type == "error" and seen["errors"].append(message.text))
            page.goto("/")
            expect(page.get_by_role("radio")).to_have_count(len(MODELS))
            seen["refusals"] += refusals
            return page

        yield visit
        assert all(url.startswith((f"{client.base_url}", "data:,")) for url in seen["requests"]) and seen["requests"]
        refused = [error for error in seen["errors"] if error.startswith("Failed to load resource")]
        assert len(refused) == seen["refusals"] and len(seen["errors"]) == len(refused), seen["errors"]


def field(page, name):
    return page.get_by_role("textbox", name=name, exact=True)


def rows(page):
    """What a table of bars says: [(name, width of the bar in per cent, the number)]."""
    page.get_by_role("table").wait_for()
    return page.evaluate("""() => [...document.querySelectorAll("tr")].map(row => {
        const rail = row.querySelector(".rail").getBoundingClientRect().width;
        const bar = row.querySelector(".bar").getBoundingClientRect().width;
        return [row.cells[0].textContent, Math.round(100 * bar / rail), row.cells[2].textContent];
    })""")


@needs_chromium
def test_labels_and_bars(visit):
    page = visit(locale="en-GB")
    field(page, "Text").fill("a good film")
    page.get_by_role("button", name="Try it").click()
    assert rows(page) == [["positive", 90, "90.0 %"], ["negative", 6, "6.0 %"], ["<b>neither</b>", 4, "4.0 %"]]
    expect(page.locator("main")).to_match_aria_snapshot("""
        - group "Model":
          - radio /reviews version 1 Text → Label, Probabilities, Score/ [checked]
          - radio "gpt version 1 Beginning → Text"
          - radio /answers version 1 Question, Text that may have the answer → Answer, Score, Place/
          - radio /films version 1 Titles so far → Titles, Scores/
          - radio "numbers version 1 x → sum"
        - textbox "Text": a good film
        - paragraph:
          - button "Try it"
          - text: or Ctrl+Enter
        - alert
        - region "Answer":
          - heading "Answer" [level=2]
          - paragraph:
            - strong: positive
            - text: with probability 90.0 %
          - table "Probabilities":
            - caption: Probabilities
            - rowgroup:
              - row "positive 90.0 %"
              - row "negative 6.0 %"
              - row "<b>neither</b> 4.0 %"
        """)
    assert page.locator("#answer").get_attribute("aria-live") == "polite"
    assert page.locator("html").get_attribute("lang") == "en"


@needs_chromium
def test_chinese_and_the_switch(visit):
    page = visit(locale="zh-CN")
    field(page, "文本").fill("这是一个很好的产品")
    page.get_by_role("button", name="试一试").click()
    assert rows(page)[0] == ["positive", 90, "90.0 %"]
    assert page.locator("html").get_attribute("lang") == "zh-Hans"
    expect(page.locator("#answer p")).to_have_text("positive 概率 90.0 %")
    assert not re.search(r"Text|Label|Model|Try|Answer", page.locator("body").inner_text())
    page.get_by_role("button", name="English").click()  # what was typed and answered stays
    expect(page.locator("#answer p")).to_have_text("positive with probability 90.0 %")
    expect(field(page, "Text")).to_have_value("这是一个很好的产品")
    assert page.locator("html").get_attribute("lang") == "en"


@needs_chromium
def test_keyboard_alone(visit):
    page = visit(locale="en-GB")
    stops = []
    for _ in range(4):
        page.keyboard.press("Tab")
        stops.append(page.evaluate("""() => {
            const {outlineStyle, outlineWidth} = getComputedStyle(document.activeElement);
            return [document.activeElement.id || document.activeElement.type, outlineStyle, outlineWidth];
        }"""))
    assert stops == [[name, "solid", "3px"] for name in ("language", "radio", "input-text", "send")]
    page.keyboard.press("Shift+Tab")
    page.keyboard.type("bad")
    page.keyboard.press("Control+Enter")
    expect(page.locator("strong").last).to_have_text("negative")
    page.keyboard.press("Shift+Tab")
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    expect(page.locator("#answer")).to_be_empty()
    page.keyboard.press("Tab")
    page.keyboard.type("Alien\n\nMetropolis\n")
    page.keyboard.press("Control+Enter")
    assert rows(page) == [["Brazil", 100, "100.0 %"], ["Alien", 50, "50.0 %"]]
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(page.get_by_role("table", name="Titles")).to_be_visible()


@needs_chromium
def test_texts_come_as_they_are_written(visit):
    page = visit(locale="en-GB")
    page.get_by_role("radio", name="gpt").check()
    page.evaluate("""() => {
        const answer = document.getElementById("answer");
        window.seen = [];
        new MutationObserver(() => seen.push([answer.textContent, answer.getAttribute("aria-busy")])).observe(
            answer, {subtree: true, childList: true, attributes: true});
    }""")
    field(page, "Beginning").fill("Say")
    page.get_by_role("button", name="Try it").click()
    whole = "Say" + "".join(WORDS[:LENGTH])
    page.wait_for_function("() => document.getElementById('answer').getAttribute('aria-busy') === 'false'")
    seen = [tuple(state) for state in page.evaluate("seen")]
    assert seen[-1] == (whole, "false")
    assert [text for text, busy in dict.fromkeys(seen) if busy == "true" and text] == [
        "Say" + "".join(WORDS[:length]) for length in (4, 8, 10)]
    # Stopped in the middle: what is there stays.
    calls = iter(range(10))
    page.route("**/gpt/versions/1:predict", lambda route: route.continue_() if next(calls) < 2 else None)
    page.get_by_role("button", name="Try it").click()
    expect(page.locator(".written")).to_have_text("Say" + "".join(WORDS[:8]))
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Try it")).to_be_visible()
    expect(page.locator(".written")).to_have_text("Say" + "".join(WORDS[:8]))
    expect(page.get_by_role("alert")).to_be_empty()


@needs_chromium
def test_what_is_under_way_stops_though_its_field_was_emptied(visit):
    page = visit(locale="en-GB")
    page.route("**/*:predict", lambda route: None)  # no answer comes
    text, send = field(page, "Text"), page.locator("#send")
    for stop in (send.click, lambda: text.press("Control+Enter")):
        text.fill("a good film")
        send.click()
        expect(send).to_have_text("Stop")
        text.clear()
        stop()
        expect(send).to_have_text("Try it")
        assert page.evaluate("() => !document.getElementById('form').noValidate")  # to ask, it must be filled again


@needs_chromium
def test_answers_are_marked_where_they_stand(visit):
    page = visit(locale="en-GB")
    page.get_by_role("radio", name="answers").check()
    field(page, "Question").fill("When?")
    field(page, "Text that may have the answer").fill(CONTEXT)
    page.get_by_role("button", name="Try it").click()
    expect(page.locator("mark")).to_have_text("1891")
    before = page.evaluate("() => document.querySelector('mark').previousSibling.textContent")
    assert before == CONTEXT[: CONTEXT.rindex("1891")]
    expect(page.locator(".written")).to_have_text(CONTEXT)
    expect(page.locator(".best")).to_have_text("1891 with probability 50.0 %")
    field(page, "Text that may have the answer").fill("Nothing.")
    page.get_by_role("button", name="Try it").click()
    expect(page.locator("#answer")).to_contain_text("The text does not say.")


@needs_chromium
def test_other_models_take_json(visit):
    page = visit(locale="en-GB")
    page.get_by_role("radio", name="numbers").check()
    x = field(page, "x")
    x.fill("[1, 2.5]")
    x.press("Control+Enter")
    expect(page.locator("#answer")).to_have_text("3.5")
    x.fill("[1")
    x.press("Control+Enter")
    expect(page.get_by_role("alert")).to_contain_text("“[1” must be JSON")


@needs_chromium
def test_errors_in_plain_words(visit):
    page = visit(refusals=4, locale="en-GB")
    text, alert = field(page, "Text"), page.get_by_role("alert")
    text.press("Control+Enter")
    assert page.evaluate("() => document.querySelector('textarea:invalid') === document.activeElement")
    text.fill("x" * 201)
    text.press("Control+Enter")
    expect(alert).to_contain_text("The model cannot take this. text: a text may have at most 200 characters")
    page.get_by_role("button", name="中文").click()
    expect(alert).to_contain_text("模型无法接受这个输入。")
    page.get_by_role("button", name="English").click()
    text.fill("short")

    def instead(answer, route):
        return route.fulfill(**answer) if answer else route.abort()

    for answer, reason in (
            ({"status": 503, "headers": {"Retry-After": "7"}, "json": {"error": "full"}}, "try again in 7 s. full"),
            ({"status": 500, "body": "no JSON"}, "its log says why"),
            ({"status": 200, "body": '{"predictions": [{"probabilities": [NaN]}]}'}, "cannot be read"),
            (None, "Does it still run?")):
        page.route("**/*:predict", functools.partial(instead, answer))
        text.press("Control+Enter")
        expect(alert).to_contain_text(reason)
        expect(page.locator("#answer")).to_be_empty()
    page.unroute_all()
    text.press("Control+Enter")
    expect(page.locator("strong").last).to_have_text("negative")
    expect(alert).to_be_empty()


# WCAG 2.2: relative luminance, contrast (L1 + 0.05) / (L2 + 0.05).
CONTRASTS = """() => {
    const channels = colour => colour.match(/[\\d.]+/g).map(Number);
    const luminance = colour => channels(colour).slice(0, 3).map(value => value / 255)
        .map(value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
        .reduce((sum, value, n) => sum + value * [0.2126, 0.7152, 0.0722][n], 0);
    const background = node => {
        const colour = getComputedStyle(node).backgroundColor;
        return (channels(colour)[3] ?? 1) > 0 ? colour : background(node.parentElement);
    };
    return [...document.body.querySelectorAll("*")]
        .filter(node => node.checkVisibility() && [...node.childNodes].some(child => child.data?.trim()))
        .map(node => {
            const [dark, light] = [getComputedStyle(node).color, background(node)].map(luminance).sort((a, b) => a - b);
            return [node.textContent, (light + 0.05) / (dark + 0.05)];
        });
}"""


@needs_chromium
def test_narrow_light_and_dark(visit):
    grounds = set()
    for scheme in ("light", "dark"):
        page = visit(refusals=1, locale="en-GB", color_scheme=scheme, viewport={"width": 320, "height": 600})
        page.get_by_role("radio", name="answers").check()
        field(page, "Question").fill("x" * 201)
        field(page, "Text that may have the answer").fill(CONTEXT + "long" * 20)
        page.get_by_role("button", name="Try it").click()
        expect(page.get_by_role("alert")).to_contain_text("at most 200")
        contrasts = dict(page.evaluate(CONTRASTS))
        field(page, "Question").fill("When?")
        page.get_by_role("button", name="Try it").click()
        page.locator("mark").wait_for()
        contrasts |= dict(page.evaluate(CONTRASTS))
        assert min(contrasts.values()) >= 4.5, contrasts
        assert {"1891", "Try it", "中文", "or Ctrl+Enter", "The model cannot take this."} < set(contrasts)
        assert page.evaluate("() => document.documentElement.scrollWidth") == 320
        grounds.add(page.evaluate("() => getComputedStyle(document.body).backgroundColor"))
    assert len(grounds) == 2


def test_the_page_is_served_with_a_strict_policy(client):
    for path, media_type in (("/", "text/html"), ("/page.css", "text/css"), ("/page.js", "text/javascript"),
                             ("/models.json", "application/json")):
        answer = client.get(path)
        assert answer.status_code == 200 and answer.headers["content-type"].startswith(media_type)
        policy = dict(rule.split(" ", 1) for rule in answer.headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'none'" and "unsafe" not in str(policy) and "//" not in str(policy)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "http" not in answer.text
    described = {model["name"]: model for model in client.get("/models.json").json()["models"]}
    assert list(described) == list(MODELS)
    assert described["reviews"]["about"]["labels"][1] == "positive" and described["gpt"]["about"] == {}
    assert described["numbers"]["signatures"] == {"add": {"inputs": {"x": {"dtype": "float32", "shape": [None, 2]}},
                                                          "outputs": {"sum": {"dtype": "float32", "shape": [None]}}}}


def test_the_page_is_packaged():
    setup = configparser.ConfigParser()
    setup.read(Path(__file__).parents[1] / "setup.cfg", encoding="utf-8")
    patterns = setup["options.package_data"]["app"].split()
    folder = Path(app.web_page.__file__).parent
    packaged = {path.name for pattern in patterns for path in folder.glob(pattern)}
    assert packaged == {name for name, _ in app.web_page.FILES.values()}


def test_every_word_is_there_in_both_languages():
    page = Path(app.web_page.__file__).parent / "page"
    script = (page / "page.js").read_text(encoding="utf-8")
    english, chinese = re.search(r"en: \{(.*?)\n  \},\n  zh: \{(.*?)\n  \},", script, re.DOTALL).groups()
    keys = [set(re.findall(r'(?:^|[,{\n])\s*("[\w.]+"|\w+):\s"', words)) for words in (english, chinese)]
    assert keys[0] == keys[1] and len(keys[0]) > 30
    used = set(re.findall(r'data-words="(\w+)"', (page / "index.html").read_text(encoding="utf-8")))
    assert used <= keys[0]

"""The page in a real browser, without a network."""

import io

import numpy as np
import pytest
from PIL import Image
from report.conftest import DARK, HOSTILE

from hdr_lightning.evaluation.results import SOURCE, Contender
from hdr_lightning.report.page import write_report


@pytest.fixture
def page(chromium, written):
    """The report, opened; nothing may be asked of a network, go wrong, or run from the name of a photo."""
    opened = chromium.new_page(viewport={"width": 1280, "height": 900})
    requests, complaints = [], []
    opened.on("request", lambda request: requests.append(request.url))
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("dialog", lambda dialog: complaints.append(dialog.message))
    opened.goto((written / "report.html").as_uri())
    yield opened
    assert {url.split(":")[0] for url in requests} <= {"file", "data"}
    assert sum(url.startswith("file:") for url in requests) == 1
    assert complaints == []
    assert opened.title() == "A & B"
    opened.close()


def seen(element):
    return np.asarray(Image.open(io.BytesIO(element.screenshot())).convert("RGB")).astype(int)


def brightness(pixels, left, right):
    """Mean of columns between two shares of the width, away from labels and the handle."""
    height, width, _ = pixels.shape
    return pixels[: height // 3, int(left * width) : int(right * width)].mean()


def wait(page, condition):
    """Wait for a condition; Playwright's own way is forbidden by the content policy of the page."""
    for _ in range(200):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(condition)


def comparison(page, number=1):
    figure = page.locator(".shot").nth(number)
    figure.scroll_into_view_if_needed()
    wait(page, f"document.querySelectorAll('.shot')[{number}].querySelector('img.right').naturalWidth > 0")
    return figure, figure.locator(".compare")


def test_dragging_shows_more_of_the_left(page):
    """The source is half as bright as the target, the output brighter."""
    _, box = comparison(page)
    area = box.bounding_box()
    before = seen(box)
    assert brightness(before, 0.1, 0.45) < brightness(before, 0.55, 0.9)
    page.mouse.move(area["x"] + area["width"] / 2, area["y"] + area["height"] * 0.7)
    page.mouse.down()
    page.mouse.move(area["x"] + area["width"] * 0.95, area["y"] + area["height"] * 0.7, steps=5)
    page.mouse.up()
    after = seen(box)
    assert brightness(after, 0.55, 0.9) < 0.7 * brightness(before, 0.55, 0.9)
    assert np.abs(after - before)[: len(after) // 3, : int(0.4 * after.shape[1])].max() < 20


def test_arrow_keys_move_the_slider(page):
    _, box = comparison(page)
    box.locator("input").focus()
    before = seen(box)
    for _ in range(40):
        page.keyboard.press("ArrowLeft")
    after = seen(box)
    assert box.locator("input").input_value() == "30"
    assert brightness(after, 0.33, 0.48) > 1.2 * brightness(before, 0.33, 0.48)


def test_buttons_show_the_target_and_the_difference(page):
    figure, box = comparison(page)
    target = figure.get_by_role("button", name="target")
    target.click()
    wait(page, "document.querySelectorAll('.shot')[1].querySelector('img.over').complete")
    whole = seen(box)
    assert target.get_attribute("aria-pressed") == "true"
    figure.get_by_role("button", name="difference").click()
    page.wait_for_timeout(100)
    assert target.get_attribute("aria-pressed") == "false"
    assert np.abs(seen(box) - whole).mean() > 10
    figure.get_by_role("button", name="difference").click()
    assert figure.locator("img.over").is_hidden()


def test_left_and_right_are_chosen(page):
    figure, box = comparison(page)
    page.select_option("#left", label="target")
    page.select_option("#right", label="dark </script> & 'co'")
    page.wait_for_timeout(150)
    assert figure.locator(".label.left").inner_text() == "target"
    assert figure.locator(".label.right").inner_text() == "dark </script> & 'co'"
    shown = seen(box)
    assert brightness(shown, 0.1, 0.4) > 0
    points = [figure.locator(f"polyline.{side}").get_attribute("points") for side in ("left", "right", "goal")]
    assert points[0] == points[2] != points[1]


def test_a_photo_keeps_its_name_whatever_it_is(page):
    names = page.locator("figcaption .name").all_inner_texts()
    assert " ".join(HOSTILE.split()) in [" ".join(name.split()) for name in names]
    assert page.locator("td img, figcaption img").count() == 0


def column(page, number):
    cells = f"#photos tbody tr td:nth-child({number})"
    return [cell.get_attribute("data-number") for cell in page.locator(cells).all()]


def test_the_table_sorts_numbers_as_numbers_in_both_directions_with_what_is_missing_last(page):
    head = page.locator("#photos th").nth(3).locator("button")  # PSNR: 9.5 comes before 10.1
    head.click()
    values = [float(value) for value in column(page, 4) if value]
    assert values == sorted(values)
    assert {len(str(int(value))) for value in values} == {1, 2}
    assert column(page, 4)[-1] == ""
    head.press("Enter")
    falling = [float(value) for value in column(page, 4) if value]
    assert falling == values[::-1]
    assert column(page, 4)[-1] == ""
    assert page.locator("#photos th").nth(3).get_attribute("aria-sort") == "descending"


def test_the_table_is_searched(page):
    page.fill("#search", "LAST")
    page.select_option("#only", label="bright")
    visible = page.locator("#photos tbody tr:visible")
    assert visible.count() == 1
    assert visible.locator("td").first.inner_text() == "last.jpg"


def test_the_worst_windows_are_shown_as_they_are_the_worst_first(page):
    page.locator("#crops").scroll_into_view_if_needed()
    errors = [float(text.split("mean error ")[1].split()[0]) for text in page.locator(".crop .name").all_inner_texts()]
    assert errors == sorted(errors, reverse=True)
    wait(page, "document.querySelector('.crop img').complete && !document.querySelector('.crop img').hidden")
    size = "image => [image.naturalWidth, image.clientWidth]"
    natural, shown = page.locator(".crop img").first.evaluate(size)
    assert natural == shown
    page.select_option("#crops-of", label="bright")
    assert {row.get_attribute("data-contender") for row in page.locator(".crop:visible").all()} == {"bright"}


def test_contenders_may_be_called_anything(chromium, evaluated, tmp_path):
    """HTML shortens spaces, and every object of JavaScript has a constructor."""
    evaluation, gallery = evaluated(tmp_path)
    for kept in (evaluation.values, evaluation.faults):
        kept.update({"constructor": kept.pop("bright"), "two  spaces": kept.pop(DARK, {})})
    evaluation.contenders[1:] = [Contender("constructor", "a"), Contender("two  spaces", "b")]
    for shot in gallery.shots:  # neither has made a picture of it
        shot.outputs, shot.differences, shot.crops = {}, {}, {}
        shot.histograms = {name: bins for name, bins in shot.histograms.items() if name in ("", SOURCE)}
    write_report(evaluation, gallery, tmp_path)
    complaints = []
    opened = chromium.new_page()
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.goto((tmp_path / "report.html").as_uri())
    figure = opened.locator(".shot").nth(1)
    figure.scroll_into_view_if_needed()
    wait(opened, "document.querySelectorAll('.shot')[1].querySelector('img.left').naturalWidth > 0")
    assert figure.locator("img.right").is_hidden()
    opened.select_option("#only", index=3)
    assert opened.locator("#photos tbody tr:visible").count() == 5
    assert complaints == []
    opened.close()


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1920, "light")])
def test_it_fits_phones_and_large_screens_in_both_schemes(chromium, written, width, scheme):
    opened = chromium.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    opened.goto((written / "report.html").as_uri())
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    back = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, back[4:-1].split(","))) < 200) is (scheme == "dark")
    opened.close()

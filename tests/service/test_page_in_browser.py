"""The page in a real browser: images go in, verdicts come out, by mouse, by keyboard, on a phone, read aloud."""

import base64
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from fewshot.detector.detector import Detector
from fewshot.detector.judgement import Judgement
from fewshot.detector.scorer import Scorer
from fewshot.detector.stability import DEFAULT
from tests.service.page_server import Answers, fitted, photograph, problem, served

pytestmark = pytest.mark.slow

AXE = Path(__file__).parent / "axe" / "axe.min.js"
PATIENCE_SECONDS = 60
SENTENCES = {
    "synthetic": "This image looks synthetic.",
    "natural": "This image looks natural.",
    "unsure": "The detector is unsure about this image.",
}


class Page:
    """A browser that shows the page, and what a reader does with it."""

    def __init__(self, driver: webdriver.Chrome, address: str, answers: Answers) -> None:
        self.driver = driver
        self.address = address
        self.answers = answers

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    @property
    def focused(self) -> WebElement:
        return self.driver.switch_to.active_element

    def wait(self, condition: str) -> None:
        """Wait until a JavaScript expression is true."""
        WebDriverWait(self.driver, PATIENCE_SECONDS, poll_frequency=0.05).until(
            lambda _: self.run(f"return Boolean({condition})"), message=f"{condition}: {self.find('body').text[:2000]}"
        )

    def choose(self, *files: Path) -> None:
        """Choose files, and wait until all cards on the page are done."""
        self.find("#choose").send_keys("\n".join(map(str, files)))
        self.wait_for_cards()

    def wait_for_cards(self) -> None:
        self.wait("document.querySelector('.card') && !document.querySelector('.card.waiting')")

    def press(self, *keys: str) -> None:
        webdriver.ActionChains(self.driver).send_keys(*keys).perform()

    def size(self, width: int, height: int) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def colours(self, scheme: str) -> None:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def violations(self) -> list[str]:
        """Return what axe-core finds serious or critical, each with where."""
        self.run(AXE.read_text("utf-8"))
        found = self.driver.execute_async_script(
            "axe.run(document).then((found) => arguments[0](found.violations), (error) => arguments[0](String(error)))"
        )
        assert isinstance(found, list), found
        return [
            f"{one['id']} ({one['impact']}): {[node['html'][:150] for node in one['nodes']]}"
            for one in found
            if one["impact"] in ("serious", "critical")
        ]


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    return fitted(tmp_path_factory.mktemp("detector"))


@pytest.fixture(scope="module")
def driver() -> Iterator[webdriver.Chrome]:
    browser, control = shutil.which("chromium"), shutil.which("chromedriver")
    assert browser is not None  # conftest.py collects this file only where they are
    assert control is not None
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        arguments = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", f"--user-data-dir={profile}")
        for argument in arguments:
            options.add_argument(argument)
        found = webdriver.Chrome(options=options, service=webdriver.ChromeService(control))
        yield found
        found.quit()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory, detector: Detector) -> dict[str, Path]:
    """One image of each verdict, by what the detector says of them outside the page; a file that is no image."""
    folder = tmp_path_factory.mktemp("images")
    strengths = [step / 200 for step in range(17)]
    candidates = [folder / f"board-{number}.png" for number in range(len(strengths))]
    for path, strength in zip(candidates, strengths, strict=True):
        photograph(1000, checkerboard=strength).save(path)
    found: dict[str, Path] = {}
    for path, judgement in zip(candidates, judged(detector, candidates), strict=True):
        found[judgement.verdict] = path
    assert set(found) == set(SENTENCES), "one image of each verdict"
    found["text"] = folder / "notes.txt"
    found["text"].write_text("this is no image\n")
    return found


def judged(detector: Detector, paths: Sequence[Path], views: Sequence[str] = ()) -> list[Judgement]:
    with Scorer(detector, workers=0, views=views) as scorer:
        found = [each.judgement for each in scorer.files(paths)]
    return [each for each in found if each is not None]


@pytest.fixture(scope="module")
def server(detector: Detector) -> Iterator[tuple[str, Answers]]:
    with Answers(detector) as answers, served(answers.app) as address:
        yield address, answers


@pytest.fixture
def page(driver: webdriver.Chrome, server: tuple[str, Answers]) -> Iterator[Page]:
    address, answers = server
    answers.reset()
    found = Page(driver, address, answers)
    found.size(1280, 900)
    found.colours("light")
    driver.get(address)
    found.wait("document.querySelector('#detector').textContent.includes('made')")
    driver.get_log("browser")  # type: ignore[no-untyped-call]  # of earlier pages
    found.find("#stability").click()  # off: it takes six times as long
    yield found
    assert [line["message"] for line in driver.get_log("browser") if "Security" in line["message"]] == []  # type: ignore[no-untyped-call]
    assert found.run("return [document.cookie, localStorage.length, sessionStorage.length]") == ["", 0, 0]


@pytest.mark.parametrize("verdict", SENTENCES)
def test_chosen_image_gets_the_detectors_verdict_as_a_sentence_with_an_icon(
    page: Page, images: dict[str, Path], detector: Detector, verdict: str
) -> None:
    page.choose(images[verdict])
    (judgement,) = judged(detector, [images[verdict]])
    assert page.find(".card .verdict").text == SENTENCES[verdict]
    assert page.find(".card .verdict svg").is_displayed()
    assert page.find(".card .name").text.startswith(images[verdict].name)
    low, high = judgement.probability
    words = page.find(".card .said").text.replace("\u00a0", " ")
    assert "Probability of being synthetic: between " in words or "about " in words
    assert all(f"{round(100 * bound)} %" in words for bound in (low, high) if 100 * bound == round(100 * bound))
    assert "20 images" in words
    assert ("lies between the two thresholds" in words) == (verdict == "unsure")


def test_card_shows_score_promises_sources_backbones_and_provenance(
    page: Page, images: dict[str, Path], detector: Detector
) -> None:
    page.choose(images["synthetic"])
    (judgement,) = judged(detector, [images["synthetic"]])
    text = page.find(".card").text
    assert len(page.all("svg.scale .tick")) == len(detector.calibration_scores) == 30
    assert len(page.all("svg.scale .threshold")) == 2
    score = f"{judgement.score:.3g}".replace("-", "\u2212")
    assert page.find("svg.scale .marker-label").text.startswith(f"this image: {score[:4]}")
    assert "At this threshold at most 10 of 100 natural images like yours are flagged (95 % sure, from 30)." in text
    assert "No guarantee for misses" in text
    assert [each.text for each in page.all(".tile-source")] == [near.source for near in judgement.neighbours]
    loaded = page.run("return [...document.querySelectorAll('.tiles img')].map((each) => each.naturalWidth > 0)")
    assert loaded == [True] * 5
    assert [each.text.replace("\n", "") for each in page.all(".table:has(tbody wbr) tbody th")] == list(
        judgement.members
    )
    assert "Provenance (not used in the score)" in text
    assert "<img src=x onerror=alert(1)>" in text


def test_table_says_what_re_encoding_does(page: Page, images: dict[str, Path], detector: Detector) -> None:
    page.driver.refresh()
    assert page.find("#stability").is_selected()
    page.choose(images["natural"])
    (judgement,) = judged(detector, [images["natural"]], DEFAULT)
    assert page.find(".card .verdict").text == SENTENCES[judgement.verdict]
    assert judgement.reason[1:] in page.find(".card .said").text
    rows = [each.text for each in page.all(".columns section:last-child td:nth-child(2)")]
    assert rows[1:] == [verdict for verdict, _ in judgement.under.values()]
    headings = page.find(".columns section:last-child").text
    assert all(
        name in headings for name in ("JPEG at quality 75", "Half size", "WebP at quality 80", "Blurred by 1 pixel")
    )
    assert page.answers.queries == [{"stability": "true", "provenance": "true"}]


def test_image_that_is_unlike_all_known_ones_is_called_unknown(page: Page, detector: Detector, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), (255, 0, 0)).save(tmp_path / "red.png")
    (judgement,) = judged(detector, [tmp_path / "red.png"])
    assert judgement.unknown
    page.choose(tmp_path / "red.png")
    assert "Unknown: this image is unlike every image that the detector knows" in page.find(".card .said").text


def test_several_images_become_cards_in_their_order_with_an_error_among_them(
    page: Page, images: dict[str, Path]
) -> None:
    order = ["synthetic", "text", "natural"]
    page.choose(*(images[name] for name in order))
    assert [each.text for each in page.all(".card .verdict")] == [
        SENTENCES["synthetic"],
        "No verdict.",
        SENTENCES["natural"],
    ]
    failed = page.find(".card.failed")
    assert "notes.txt" in failed.text
    said = failed.find_element(By.CSS_SELECTOR, "p").text
    assert said.startswith("It cannot be judged: ")
    assert said.endswith("of no known format.")
    assert len(page.all("#overview li")) == 3
    assert page.find("#status").text == "3 images: 1 synthetic, 1 without a verdict and 1 natural."


def test_image_can_be_dropped_anywhere_on_the_page(page: Page, images: dict[str, Path]) -> None:
    page.run(
        f"""{TRANSFER} const how = {{bubbles: true, cancelable: true, dataTransfer: transfer}};
        for (const kind of ["dragenter", "dragover", "drop"]) document.body.dispatchEvent(new DragEvent(kind, how));""",
        encoded(images["synthetic"]),
        "dropped.png",
    )
    page.wait_for_cards()
    assert page.find(".card .name").text.startswith("dropped.png")
    assert page.find(".card .verdict").text == SENTENCES["synthetic"]
    assert page.run("return location.href") == page.address


def test_image_can_be_pasted(page: Page, images: dict[str, Path]) -> None:
    page.run(
        f"""{TRANSFER} const how = {{bubbles: true, clipboardData: transfer}};
        document.body.dispatchEvent(new ClipboardEvent("paste", how));""",
        encoded(images["natural"]),
        "image.png",
    )
    page.wait_for_cards()
    assert page.find(".card .verdict").text == SENTENCES["natural"]


TRANSFER = """
const bytes = Uint8Array.from(atob(arguments[0]), (each) => each.charCodeAt(0));
const transfer = new DataTransfer();
transfer.items.add(new File([bytes], arguments[1], {type: "image/png"}));
"""


def encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode("ascii")


def test_name_of_a_file_stays_a_text(page: Page, images: dict[str, Path], tmp_path: Path) -> None:
    name = "<img src=x onerror=document.title=1>.png"
    shutil.copy(images["natural"], tmp_path / name)
    page.choose(tmp_path / name)
    assert page.find(".card .name").text.startswith(name)
    assert page.run("return document.title") == "Is this image synthetic? · fewshot"


def test_busy_server_is_waited_for_as_it_asks(page: Page, images: dict[str, Path]) -> None:
    page.answers.first.append(problem(429, "8 images wait already", Retry_After="1"))
    page.find("#choose").send_keys(str(images["natural"]))
    page.wait("document.querySelector('#trouble button')")
    said = page.find("#trouble").text
    assert (
        "The server has too much to do. 8 images wait already. It asks to wait 1 s. 1 image is not judged yet." in said
    )
    assert page.find("#trouble").get_attribute("role") == "alert"
    page.find("#trouble button").click()
    page.wait_for_cards()
    assert page.find(".card .verdict").text == SENTENCES["natural"]
    assert not page.find("#trouble").is_displayed()


def test_image_that_is_too_large_does_not_hold_the_others(page: Page, images: dict[str, Path], tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    large.write_bytes(images["natural"].read_bytes() + bytes(2 << 20))
    page.answers.first.append(problem(413, "at most 1 MB"))
    page.choose(images["synthetic"], large, images["natural"])
    refused, local, judged_one = (each.text for each in page.all(".card"))
    assert "is too large for this server. At most 1 MB." in refused
    assert "Try again" in refused
    assert "It has 2.02 MB; this server takes images of up to 1 MB." in local
    assert SENTENCES["natural"] in judged_one


def test_server_that_is_down_is_said_and_asked_again(page: Page, detector: Detector, images: dict[str, Path]) -> None:
    answers = Answers(detector)
    with served(answers.app) as address:
        page.driver.get(address)
        page.wait("document.querySelector('#detector').textContent.includes('made')")
        page.find("#stability").click()
    page.find("#choose").send_keys(str(images["synthetic"]))
    page.wait("document.querySelector('#trouble button')")
    assert "The server cannot be reached." in page.find("#trouble").text
    with answers, served(answers.app, port=int(address.rsplit(":", 1)[1].strip("/"))):
        page.find("#trouble button").click()
        page.wait_for_cards()
        assert page.find(".card .verdict").text == SENTENCES["synthetic"]


def test_server_without_the_extra_says_that_provenance_is_not_available(page: Page, images: dict[str, Path]) -> None:
    page.answers.lacking = ("provenance",)
    page.choose(images["natural"])
    assert "Not available on this server. provenance needs an extra" in page.find(".card").text
    assert page.find(".card .verdict").text == SENTENCES["natural"]
    assert not page.find("#provenance").is_enabled()


def test_known_image_without_a_picture_shows_initials(page: Page, images: dict[str, Path]) -> None:
    page.driver.execute_cdp_cmd("Network.enable", {})
    page.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*/v1/thumbnails/*"]})
    try:
        page.choose(images["synthetic"])
        page.wait("document.querySelectorAll('.tiles .initials').length === 5")
    finally:
        page.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
    assert page.find(".tiles .initials").text == page.find(".tile-source").text[:2].upper()


def test_keyboard_leads_from_the_start_to_the_verdict_and_its_copy(page: Page, images: dict[str, Path]) -> None:
    page.driver.refresh()
    page.press(Keys.TAB)
    assert page.focused.text == "Skip to choosing images"
    page.press(Keys.ENTER)
    assert page.focused.get_attribute("id") == "choose"
    page.press(Keys.TAB, Keys.SPACE)
    assert not page.find("#stability").is_selected()
    webdriver.ActionChains(page.driver).key_down(Keys.SHIFT).send_keys(Keys.TAB).key_up(Keys.SHIFT).perform()
    assert page.run("return getComputedStyle(document.querySelector('#zone')).outlineStyle") == "solid"
    page.focused.send_keys(str(images["synthetic"]))
    page.wait_for_cards()
    page.wait("document.activeElement.tagName === 'H3'")
    assert SENTENCES["synthetic"] in page.focused.text
    page.driver.execute_cdp_cmd("Browser.grantPermissions", {"permissions": ["clipboardReadWrite"]})
    page.press(Keys.TAB)
    assert page.focused.text.startswith("Copy JSON")
    page.press(Keys.ENTER)
    page.wait("document.querySelector('.copied').textContent")
    assert page.find(".copied").text == "Copied to the clipboard."
    assert page.find(".copied").get_attribute("role") == "status"
    copied = json.loads(page.run("return navigator.clipboard.readText()"))
    assert (copied["image"], copied["verdict"]) == (images["synthetic"].name, "synthetic")
    assert copied["detector"]["digest"] == page.answers.detector.digest


def test_result_is_copied_where_the_page_may_not_use_the_clipboard(page: Page, images: dict[str, Path]) -> None:
    page.run("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    page.choose(images["natural"])
    page.find(".copy button").click()
    page.wait("document.querySelector('.copied').textContent")
    assert page.find(".copied").text == "Copied to the clipboard."
    page.run("document.execCommand = () => false")
    page.find(".copy button").click()
    page.wait("document.querySelector('.copy textarea')")
    assert json.loads(page.find(".copy textarea").get_attribute("value") or "")["verdict"] == "natural"
    assert "copy it by hand" in page.find(".copied").text


@pytest.mark.parametrize("width", [390, 320])
def test_phone_shows_everything_without_scrolling_sideways(
    page: Page, images: dict[str, Path], tmp_path: Path, width: int
) -> None:
    page.size(width, 844)
    long = tmp_path / f"{'a-long-name-without-an-end' * 5}.png"
    shutil.copy(images["synthetic"], long)
    page.choose(long, images["text"])
    assert page.run("return document.documentElement.scrollWidth") <= width
    beyond = page.run(
        """return [...document.querySelectorAll('main *')].filter((each) => !each.closest('.hidden, .table')
        && each.getBoundingClientRect().right > innerWidth + 1).map((each) => each.outerHTML.slice(0, 100))"""
    )
    assert beyond == []


def test_axe_finds_nothing_serious_at_the_start(page: Page) -> None:
    assert page.violations() == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_results_of_every_kind(page: Page, images: dict[str, Path], scheme: str) -> None:
    page.colours(scheme)
    page.choose(images["synthetic"], images["unsure"], images["text"])
    page.answers.first.append(problem(503, "it is being shut down"))
    page.find("#choose").send_keys(str(images["natural"]))
    page.wait("document.querySelector('#trouble button')")
    assert page.violations() == []


def test_progress_and_verdicts_are_announced_politely(page: Page, images: dict[str, Path]) -> None:
    page.run(
        """window.said = []; new MutationObserver(() => window.said.push(document.querySelector('#status').textContent))
        .observe(document.querySelector('#status'), {childList: true, characterData: true, subtree: true});"""
    )
    page.choose(images["natural"])
    page.wait("window.said.length > 1")
    assert page.find("#status").get_attribute("aria-live") == "polite"
    name = images["natural"].name
    assert page.run("return window.said") == [
        f"Image 1 of 1 is being judged: {name}",
        f"{name}: This image looks natural.",
    ]


def test_scale_is_named_and_described_for_those_who_do_not_see_it(page: Page, images: dict[str, Path]) -> None:
    page.choose(images["synthetic"])
    scale = page.find("svg.scale")
    assert (scale.accessible_name or "").startswith("Score ")
    assert "30 of 30 natural images of the calibration score lower" in scale.find_element(
        By.TAG_NAME, "desc"
    ).get_attribute("textContent")  # type: ignore[operator]
    assert [each.get_attribute("textContent") for each in page.all("h1, h2, h3, h4")][:3] == [
        "Is this image synthetic?",
        "Choose images",
        "Results",
    ]
    assert all(page.run("return [...document.querySelectorAll('table')].map((each) => Boolean(each.caption))"))


def test_all_images_can_be_removed(page: Page, images: dict[str, Path]) -> None:
    page.choose(images["natural"], images["synthetic"])
    page.find("#clear").click()
    assert page.all(".card") == []
    assert not page.find("#results").is_displayed()
    assert page.focused.get_attribute("id") == "choose"

"""The pages of reports and galleries in a real browser: the first screen, a phone, what axe finds, a file to take."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

from fewshot.embeddings.search.lookup import Evidence, Finding, SourceScore
from fewshot.page.document import write_page
from fewshot.page.gallery import Shown, write_gallery
from fewshot.results.report import Report
from fewshot.results.row import Row

pytestmark = pytest.mark.slow

AXE = Path(__file__).parents[1] / "service" / "axe" / "axe.min.js"


def report(detectors: int = 9) -> Report:
    random = np.random.default_rng(0)
    rows = tuple(
        Row(
            f"torchvision:a_long_net_{number}",
            "pooled",
            "fixed",
            "svm",
            "toy",
            source,
            metric,
            20,
            80,
            values,
            shots=size,
        )
        for number in range(detectors)
        for source in ("all", "macro", "transposed-convolution", "sd3")
        for metric in ("auroc", "accuracy")
        for size in (1, 10)
        for values in [tuple(np.sort(random.random(12)) / 2 + 0.5)]
    )
    warnings = tuple(f"file metadata alone separates the classes with AUROC 0.99, number {n}" for n in range(3))
    return Report("fiser", {}, rows, warnings=warnings, provenance={"command": ["fewshot", "adapt", "x" * 300]})


@pytest.fixture(scope="module")
def driver() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", f"--user-data-dir={profile}"):
            options.add_argument(argument)
        found = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
        yield found
        found.quit()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page({"a.json": report()}, tmp_path_factory.mktemp("page") / "page.html")


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gallery")
    Image.new("RGB", (200, 150), (0, 90, 200)).save(folder / "a.png")
    near = tuple(Evidence(number, f"a-name-without-an-end-{number}.png", "camera", 0.9) for number in range(5))
    finding = Finding(image="a.png", sources=(SourceScore("camera", 2, 0.8, 0.9),), neighbours=near, p_value=0.25)
    shown = Shown(finding, folder / "a.png", [folder / "a.png"] * 5, "camera")
    return write_gallery([shown], folder / "g.html", title="Near")


def open_at(
    driver: webdriver.Chrome, path: Path, width: int, height: int, *, unfold: bool, scheme: str = "light"
) -> None:
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    driver.get(path.as_uri())
    if unfold:
        driver.execute_script("document.querySelectorAll('details').forEach((part) => { part.open = true; })")


def edges(driver: webdriver.Chrome, selector: str, edge: str) -> list[float]:
    """Where an edge of every element lies, in pixels."""
    each = "[...document.querySelectorAll(arguments[0])].map((each) => each.getBoundingClientRect()[arguments[1]])"
    return list(driver.execute_script(f"return {each}", selector, edge))


@pytest.mark.parametrize("reports", [1, 2])
def test_first_screen_holds_every_verdict_its_dots_and_the_warnings(
    driver: webdriver.Chrome, tmp_path: Path, reports: int
) -> None:
    made = write_page({f"{number}.json": report() for number in range(reports)}, tmp_path / "page.html")
    open_at(driver, made, 1280, 900, unfold=False)
    for selector in (".verdict", ".answer > figure", ".warnings"):
        found = edges(driver, selector, "bottom")
        assert found
        assert max(found) <= 900, selector


@pytest.mark.parametrize("width", [390, 320])
def test_phone_shows_the_detector_and_its_mean_in_every_table_without_scrolling_sideways(
    driver: webdriver.Chrome, page: Path, width: int
) -> None:
    open_at(driver, page, width, 844, unfold=True)
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    rights = edges(driver, "tbody td:nth-child(2)", "right")
    assert len(rights) == len(report().rows)
    assert max(rights) <= width


def test_phone_keeps_the_detector_and_its_name_when_a_table_is_scrolled(driver: webdriver.Chrome, page: Path) -> None:
    open_at(driver, page, 390, 844, unfold=True)
    left = driver.execute_script(
        """const box = document.querySelector('.scroll'); box.scrollLeft = 1000;
        return [box.scrollLeft, box.querySelector('tbody th').getBoundingClientRect().left
        - box.getBoundingClientRect().left]"""
    )
    assert left[0] > 0
    assert left[1] == pytest.approx(1, abs=1)


@pytest.mark.parametrize("width", [390, 1280])
def test_gallery_keeps_a_query_beside_its_neighbours(driver: webdriver.Chrome, gallery: Path, width: int) -> None:
    open_at(driver, gallery, width, 844, unfold=False)
    boxes: list[dict[str, Any]] = driver.execute_script(
        "return [...document.querySelectorAll('.query figure')].map((each) => each.getBoundingClientRect().toJSON())"
    )
    query, *near = boxes
    assert len(near) == 5
    assert all(one["left"] >= query["right"] and one["right"] <= width for one in near)
    assert near[0]["top"] == query["top"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("what", ["page", "gallery"])
def test_axe_finds_nothing_serious(
    driver: webdriver.Chrome, request: pytest.FixtureRequest, what: str, scheme: str
) -> None:
    open_at(driver, request.getfixturevalue(what), 1280, 900, unfold=True, scheme=scheme)
    driver.execute_script(AXE.read_text("utf-8"))
    found = driver.execute_async_script(
        "axe.run(document).then((found) => arguments[0](found.violations), (error) => arguments[0](String(error)))"
    )
    assert isinstance(found, list), found
    serious = [one for one in found if one["impact"] in ("serious", "critical")]
    assert [(one["id"], [node["html"][:150] for node in one["nodes"]][:3]) for one in serious] == []


def test_a_press_on_a_heading_sorts_the_rows_by_it(driver: webdriver.Chrome, page: Path) -> None:
    open_at(driver, page, 1280, 900, unfold=True)
    shown = driver.execute_script(
        """const table = document.querySelector("table"); table.querySelectorAll("th button")[1].click();
        return [...table.querySelectorAll("tbody td:first-of-type")].map((each) => Number(each.dataset.value))"""
    )
    assert shown == sorted(shown)
    assert len(set(shown)) > 1


def test_a_file_is_handed_out_unpacked_where_the_browser_can(
    driver: webdriver.Chrome, page: Path, tmp_path: Path
) -> None:
    behaviour = {"behavior": "allow", "downloadPath": str(tmp_path)}
    driver.execute_cdp_cmd("Browser.setDownloadBehavior", behaviour)
    open_at(driver, page, 1280, 900, unfold=True)
    driver.execute_script("document.querySelector('.downloads a').click()")
    WebDriverWait(driver, 30, poll_frequency=0.1).until(lambda _: (tmp_path / "a.json").exists())
    assert Report.load(tmp_path / "a.json") == report()

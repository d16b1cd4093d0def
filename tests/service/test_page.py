"""The page's files: what lets nothing else in, what they refer to, and pictures of known images."""

import configparser
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from html.parser import HTMLParser
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

import fewshot.service
from fewshot.detector.detector import Detector
from fewshot.service.page import routes
from tests.service.page_server import fitted

STATIC = Path(fewshot.service.__file__).parent / "static"
SCRIPTS = sorted(STATIC.glob("*.js"))


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    return fitted(tmp_path_factory.mktemp("detector"))


@pytest.fixture(scope="module")
def client(detector: Detector) -> Iterator[TestClient]:
    with TestClient(Starlette(routes=routes(detector)), raise_server_exceptions=True) as found:
        yield found


class Markup(HTMLParser):
    """Every start tag of a document with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


@pytest.mark.parametrize("path", ["/", "/static/page.js", "/static/page.css"])
def test_every_file_comes_with_a_policy_that_lets_nothing_else_in(client: TestClient, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 200
    policy = dict(rule.strip().split(" ", 1) for rule in response.headers["Content-Security-Policy"].split(";"))
    assert policy.pop("require-trusted-types-for") == "'script'"
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' blob:",
        "connect-src": "'self'",
        "frame-ancestors": "'none'",
        "form-action": "'none'",
        "base-uri": "'none'",
    }
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize(
    ("path", "media_type"),
    [("/", "text/html"), ("/static/page.js", "text/javascript"), ("/static/page.css", "text/css")],
)
def test_files_are_told_as_what_they_are_and_set_no_cookie(client: TestClient, path: str, media_type: str) -> None:
    response = client.get(path)
    assert response.headers["Content-Type"] == f"{media_type}; charset=utf-8"
    assert "Set-Cookie" not in response.headers
    assert response.headers["Cache-Control"] == "no-store"


def test_document_refers_to_own_files_that_are_there_and_holds_no_script_or_style(client: TestClient) -> None:
    tags = Markup(client.get("/").text).tags
    referred = [values[name] for _, values in tags for name in ("src", "href") if name in values]
    files = [name for name in referred if name and not name.startswith("#")]
    assert {"static/page.js", "static/page.css"} <= set(files)
    assert [name for name in files if client.get(f"/{name}").status_code != 200] == []
    assert [values for tag, values in tags if tag == "script" and not values.get("src")] == []
    assert [tag for tag, _ in tags if tag in ("style", "base", "iframe", "form", "object", "embed")] == []
    assert [name for _, values in tags for name in values if name == "style" or name.startswith("on")] == []


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_script_imports_only_files_that_are_served(client: TestClient, script: Path) -> None:
    imported = re.findall(r'\bfrom "([^"]+)"', script.read_text("utf-8"))
    assert [name for name in imported if not name.startswith("./")] == []
    assert [name for name in imported if client.get(f"/static/{name[2:]}").status_code != 200] == []


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_script_makes_no_markup_of_texts_and_stores_nothing(script: Path) -> None:
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|Storage|indexedDB|cookie"
    assert re.findall(forbidden, script.read_text("utf-8")) == []


@pytest.mark.parametrize("file", sorted(STATIC.iterdir()), ids=lambda path: path.name)
def test_no_file_names_an_address_elsewhere(file: Path) -> None:
    text = file.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
    assert re.findall(r"https?://|//\w+\.\w+", text) == []


def test_every_file_of_the_page_is_installed_with_the_package() -> None:
    parser = configparser.ConfigParser()
    parser.read(Path(__file__).resolve().parents[2] / "setup.cfg")
    pattern = parser["options.package_data"]["fewshot.service"].strip()
    assert [file.name for file in STATIC.iterdir() if not fnmatch(f"static/{file.name}", pattern)] == []


def test_thumbnail_is_the_picture_that_the_detector_keeps(client: TestClient, detector: Detector) -> None:
    row, picture = sorted(detector.thumbnails.items())[-1]
    response = client.get(f"/v1/thumbnails/{row}")
    assert (response.status_code, response.headers["Content-Type"]) == (200, "image/jpeg")
    assert response.content == picture
    assert response.content[:3] == b"\xff\xd8\xff"


@pytest.mark.parametrize("row", ["100000", "-1", "zero", "٣", "9" * 5000, "1.0", "%00"])
def test_thumbnail_that_is_not_there_is_a_problem(client: TestClient, row: str) -> None:
    response = client.get(f"/v1/thumbnails/{row}")
    assert (response.status_code, response.headers["Content-Type"]) == (404, "application/problem+json")
    assert {"type", "title", "status", "detail"} == set(response.json())
    assert response.json()["status"] == 404
    assert "keeps no picture" in response.json()["detail"]
    assert len(response.content) < 500


@pytest.mark.parametrize("name", ["none.js", "..%2Fpage.py", "%2e%2e%2fpage.py", "__init__.py"])
def test_file_that_is_not_of_the_page_is_a_problem(client: TestClient, name: str) -> None:
    response = client.get(f"/static/{name}")
    assert response.status_code == 404
    assert b"import" not in response.content


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_stands_out_from_its_ground_in_both_colour_schemes(scheme: int) -> None:
    block = re.findall(r":root \{(.*?)\}", (STATIC / "page.css").read_text("utf-8"), re.DOTALL)[scheme]
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
    pairs = [(ink, ground) for ink in ("ink", "soft", "accent") for ground in ("paper", "card", "tint")]
    pairs += [("on-accent", "accent"), ("ink", "alert-tint")]
    for ink, ground in pairs:
        light, dark = sorted((luminance(colours[ink]), luminance(colours[ground])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, ground)

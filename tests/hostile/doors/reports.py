"""A report file, and what compares, shows and replays it."""

from pathlib import Path

from fewshot.page.document import page_html
from fewshot.protocols.base import PROTOCOLS
from fewshot.protocols.trials.stores_read import stores_read
from fewshot.results.comparison import compare_within
from fewshot.results.leaderboard import leaderboard, leaderboard_table, paper_comparison
from fewshot.results.report import Report

GOLDEN = Path(__file__).parents[2] / "golden"
OLD = (GOLDEN / "before_rooms/adapt.json", GOLDEN / "reports/nearest.json", GOLDEN / "reports/attribution.json")


def originals(folder: Path) -> list[Path]:
    made = []
    for number, old in enumerate(OLD):
        content = old.read_bytes()
        (folder / f"old{number}.json").write_bytes(content)
        made += [folder / f"old{number}.json", Report.load(old).save(folder / f"new{number}.json")]
    return made


def enter(path: Path) -> None:
    report = Report.load(path)
    report.table()
    leaderboard_table(leaderboard(report))
    paper_comparison(leaderboard(report))
    compare_within(report)
    for config in report.config.get("runs") or [report.config]:
        stores_read(report, config)
        PROTOCOLS.load(report.protocol).from_config(config)
    if path.stat().st_size % 8 == 0:  # a page costs a hundred times a reading
        page_html({"r.json": report}, title="t")

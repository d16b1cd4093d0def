"""The printed tables against each other, and our numbers beside them."""

import numpy as np
import pytest

from fewshot.core.errors import OptionError, UnknownNameError
from fewshot.protocols.curve.generator_families import FAMILIES, family_of, plain_name
from fewshot.protocols.published import attribution_sources, beside, tables
from fewshot.results.report import Report
from fewshot.results.row import Row


def group_means(values: dict[str, float]) -> dict[str, float]:
    groups: dict[str, list[float]] = {family: [] for family in FAMILIES}
    for source, number in values.items():
        groups[family_of(source)].append(number)
    means = {family: float(np.mean(numbers)) for family, numbers in groups.items()}
    return means | {"macro": float(np.mean(list(values.values())))}


def test_rows_of_our_method_average_to_the_row_of_the_table_over_sources() -> None:
    for table in tables("acm"):
        means = group_means(table.values["ACM"])
        printed = attribution_sources("acm").values[table.metric]["Real (ProGAN set)"]
        assert means == pytest.approx(printed, abs=0.006)


def test_every_printed_average_over_sources_is_the_mean_of_fifteen() -> None:
    for by_source in attribution_sources("acm").values.values():
        for numbers in by_source.values():
            mean = (6 * numbers["gans"] + 7 * numbers["diffusion"] + 2 * numbers["others"]) / 15
            assert numbers["macro"] == pytest.approx(mean, abs=0.011)


def test_methods_average_to_what_is_printed_but_for_one_row() -> None:
    printed = {
        "1": {"CNNDet": 75.58, "LNP": 89.0, "DIRE": 61.76, "CLIPing": 77.6, "FatFormer": 91.63, "ACM": 94.15},
        "2": {"CNNDet": 65.96, "LNP": 80.18, "DIRE": 57.21, "UnivFD": 77.8, "FatFormer": 84.98, "ACM": 91.69},
    }
    for table in tables("acm"):
        for method, mean in printed[table.number].items():
            assert np.mean(list(table.values[method].values())) == pytest.approx(mean, abs=0.01)
    assert np.mean(list(tables("acm")[0].values["UnivFD"].values())) == pytest.approx(90.42, abs=0.005)


def test_ours_stands_beside_the_printed_number_with_the_difference() -> None:
    rows = tuple(
        Row("clip", "projected", "fixed", "acm:natural", "genimage", source, "accuracy", 360, 100, (mean,), fraction=f)
        for source, mean, f in (("SD V1.4", 0.9, 1.0), ("SD V1.4", 0.5, 0.1), ("my-generator", 0.9, 1.0))
    )
    text = beside(Report("attribution", {}, rows))
    (line,) = [line for line in text.splitlines() if line.startswith("SD V1.4")]
    assert line.split()[-3:] == ["89.96", "90.00", "+0.04"]
    assert "my-generator" not in text
    assert beside(Report("attribution", {}, rows[2:])) == ""


def test_names_of_generators_are_recognised_as_people_write_them() -> None:
    assert [plain_name(name) for name in ("SD V1.4", "sdv5", "Midjourney", "Stable_Diffusion_v1.5")] == [
        "sd14",
        "sd15",
        "midjourney",
        "sd15",
    ]
    assert family_of("mine") == "others"
    assert family_of("mine", {"mine": "gans"}) == "gans"
    with pytest.raises(OptionError, match="family of 'mine' is 'gan'"):
        family_of("mine", {"mine": "gan"})


def test_an_unknown_paper_or_method_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="no published paper 'acn'; did you mean 'acm'"):
        tables("acn")
    with pytest.raises(UnknownNameError, match="no method in table 1"):
        beside(Report("attribution", {}, ()), method="Ours")

"""Unknown names are answered with the nearest one and the whole list."""

import pytest

from fewshot.core.errors import FewshotError, nearest_name, unknown_name


def test_unknown_name_gives_the_nearest_one_and_the_full_list() -> None:
    error = unknown_name("backbone", "ferretnt", ["npr", "ferretnet"])

    assert str(error) == "there is no backbone 'ferretnt'; did you mean 'ferretnet'? Known: ferretnet, npr"
    assert isinstance(error, FewshotError)


def test_unknown_name_far_from_all_others_suggests_nothing() -> None:
    assert "did you mean" not in str(unknown_name("head", "zzz", ["svm"]))


@pytest.mark.parametrize(("name", "known"), [("prompt", ["root", "group"]), ("jepg", ["blur", "noise"])])
def test_a_name_that_is_only_faintly_like_another_is_not_suggested(name: str, known: list[str]) -> None:
    error = str(unknown_name("column", name, known))

    assert "did you mean" not in error
    assert error.endswith(f"Known: {', '.join(sorted(known))}")


def test_case_and_underscores_do_not_hide_the_name_that_was_meant() -> None:
    assert nearest_name("RBF_SVM", ["rbf-svm", "svm"]) == "rbf-svm"

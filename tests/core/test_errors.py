"""Unknown names are answered with the nearest one and the whole list."""

from fewshot.core.errors import FewshotError, unknown_name


def test_unknown_name_gives_the_nearest_one_and_the_full_list() -> None:
    error = unknown_name("backbone", "ferretnt", ["npr", "ferretnet"])

    assert str(error) == "there is no backbone 'ferretnt'; did you mean 'ferretnet'? Known: ferretnet, npr"
    assert isinstance(error, FewshotError)


def test_unknown_name_far_from_all_others_suggests_nothing() -> None:
    assert "did you mean" not in str(unknown_name("head", "zzz", ["svm"]))

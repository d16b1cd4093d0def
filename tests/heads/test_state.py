"""What is saved of a head: refused when it is not what the head declares, and read without scikit-learn."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from fewshot.core.errors import InputError, OptionError, OutputError, UnknownNameError, WeightsError
from fewshot.heads.base import Head
from fewshot.heads.knn import Knn
from fewshot.heads.prototype import Prototype
from fewshot.heads.state import HeadState, from_bytes, read, to_bytes, write
from fewshot.heads.svm import Svm

FEATURES = np.random.default_rng(0).normal(size=(20, 3))
LABELS = np.arange(20) % 2


def changed(state: HeadState, **settings: Any) -> HeadState:
    return replace(state, settings={**state.settings, **settings})


def test_a_state_says_the_head_its_parameters_and_its_classes() -> None:
    state = Svm(C=2.0).fit(FEATURES, LABELS).state()
    assert state.settings == {
        "head": "svm",
        "parameters": {"C": 2.0, "gamma": "scale", "tol": 1e-3},
        "dimension": 3,
        "classes": {"values": [0, 1], "dtype": "<i8"},
    }
    assert {name: array.shape for name, array in state.arrays.items() if name != "dual_coef_"} == {
        "support_vectors_": (len(state.arrays["dual_coef_"]), 3),
        "intercept_": (),
        "gamma_": (),
    }


def test_labels_of_text_come_back_as_text() -> None:
    head = Prototype().fit(FEATURES, np.where(LABELS == 1, "synthetic", "natural"))
    again = Head.from_state(from_bytes(to_bytes(head.state())))
    assert again.predict(FEATURES).tolist() == head.predict(FEATURES).tolist()
    assert again.classes_.tolist() == ["natural", "synthetic"]


def test_parameters_of_numpy_are_saved_as_numbers() -> None:
    state = Knn(k=np.int64(3)).fit(FEATURES, LABELS).state()  # type: ignore[arg-type]
    assert Head.from_state(from_bytes(to_bytes(state))).get_params()["k"] == 3


def test_a_parameter_that_is_not_json_is_refused() -> None:
    head = Svm().fit(FEATURES, LABELS).set_params(tol=object())
    with pytest.raises(OptionError, match="the head 'svm' cannot be saved: tol=<object"):
        head.state()


def test_a_head_that_is_not_fitted_has_no_state() -> None:
    with pytest.raises(ValueError, match="This Svm instance is not fitted yet"):
        Svm().state()


def test_an_unknown_head_and_the_state_of_another_are_refused() -> None:
    state = Knn().fit(FEATURES, LABELS).state()
    with pytest.raises(UnknownNameError, match="there is no head 'knnn'; did you mean 'knn'"):
        Head.from_state(changed(state, head="knnn"))
    with pytest.raises(WeightsError, match="the state is of the head 'knn' and not of 'svm'"):
        Svm.from_state(state)


@pytest.mark.parametrize(
    "settings",
    [
        {"parameters": {"neighbours": 3}},
        {"parameters": None},
        {"dimension": "three"},
        {"classes": {"values": [1], "dtype": "<i8"}},
        {"classes": {"values": [0, 1], "dtype": "float23"}},
        {"classes": [0, 1]},
    ],
)
def test_settings_that_are_not_the_heads_are_refused(settings: dict[str, Any]) -> None:
    state = Knn().fit(FEATURES, LABELS).state()
    with pytest.raises(WeightsError, match="the settings of the saved head 'knn' cannot be used"):
        Head.from_state(changed(state, **settings))


def test_sizes_that_contradict_each_other_and_other_types_are_named() -> None:
    state = Knn().fit(FEATURES, LABELS).state()
    for arrays, message in (
        ({**state.arrays, "positive_": LABELS[:5] == 1}, "'positive_' of shape (5,), and (n) is wanted with n = 20"),
        (
            {**state.arrays, "support_": FEATURES[:, :2]},
            "'support_' of shape (20, 2), and (n, D) is wanted with D = 3",
        ),
        ({**state.arrays, "positive_": LABELS}, "'positive_' of type int64, and bool is wanted"),
        ({**state.arrays, "extra": LABELS}, "has an array 'extra' that is unknown to it"),
    ):
        with pytest.raises(WeightsError, match=re.escape(message)):
            Head.from_state(replace(state, arrays=arrays))


def test_bytes_that_hold_no_head_are_refused(tmp_path: Path) -> None:
    whole = to_bytes(Knn().fit(FEATURES, LABELS).state())
    for content in (b"", b"PK\x03\x04" * 9, whole[:-1], save({"weight": FEATURES}), save({}, metadata={"head": "{"})):
        with pytest.raises(WeightsError, match="is not a head that was saved by fewshot"):
            from_bytes(content)
    with pytest.raises(WeightsError, match="names no head, parameters, dimension and classes"):
        from_bytes(save({}, metadata={"head": '{"head": "knn"}'}))
    (tmp_path / "short.safetensors").write_bytes(whole[:40])
    with pytest.raises(WeightsError, match=r"short\.safetensors is not a head"):
        read(tmp_path / "short.safetensors")


def test_a_file_that_is_not_there_or_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.safetensors cannot be read .* give the path of a saved head"):
        read(tmp_path / "none.safetensors")
    with pytest.raises(OutputError, match=r"head\.safetensors cannot be written: there is no folder"):
        write(Knn().fit(FEATURES, LABELS).state(), tmp_path / "no folder" / "head.safetensors")


@pytest.mark.parametrize("name", ["svm", "logistic", "knn", "prototype", "gmm", "lda", "ridge"])
def test_a_saved_head_scores_without_scikit_learn_scipy_pandas_or_torch(name: str, tmp_path: Path) -> None:
    from fewshot.heads.base import HEADS

    write(HEADS.load(name)().fit(FEATURES, LABELS).state(), tmp_path / "head.safetensors")
    code = (
        "import sys\nfrom pathlib import Path\nimport numpy as np\n"
        "from fewshot.heads.base import Head\nfrom fewshot.heads.state import read\n"
        "Head.from_state(read(Path(sys.argv[1]))).decision_function(np.eye(3))\n"
        "print(sorted({'sklearn', 'scipy', 'pandas', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "head.safetensors"], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr

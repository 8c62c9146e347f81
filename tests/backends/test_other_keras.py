"""With another Keras than the one that the kernels were written for: what agrees stays on, the rest is off and says so.

Without this a person who updates Keras trains at a third of the speed, or cannot train at all, and is not told why.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import json

import pytest
from nursery import Nursery

from unidl import registry

registry.current()

import keras  # noqa: E402  (only now is it decided on which framework it runs)

from unidl.replacements import Replacements, loaded  # noqa: E402

NAME = registry.choice()[0].name
NN = {"jax": "keras.src.backend.jax.nn", "torch": "keras.src.backend.torch.nn"}.get(
    NAME, "keras.src.backend.tensorflow.nn"
)
FUNCTION = {"jax": "max_pool", "torch": "softmax", "tensorflow": "max_pool"}[NAME]
KERNEL = {"max_pool": "max-pooling", "softmax": "softmax"}[FUNCTION]

BEGIN = """
import json, logging, os, sys
os.environ["UNIDL_DEVICE"] = "cpu"
import numpy as np
said = []
logging.getLogger("unidl").addHandler(type("Kept", (logging.Handler,), {"emit": lambda _, r: said.append(
    [r.levelname, r.getMessage()])})())
logging.getLogger("unidl").setLevel("INFO")
from unidl import Trainer, build_cnn, registry
import keras
"""
ANSWER = f"""
registry.current()  # only now: the adapter looks up what it needs of Keras
trainer = Trainer(build_cnn((18, 18, 1), 3))
x = np.linspace(0, 1, 8 * 324, dtype=np.float32).reshape(8, 18, 18, 1)
trainer.fit(x, np.arange(8) % 3, batch_size=4, progress="quiet")
off = trainer.describe()["kernels_off"]
loop = trainer._ready_loop()
from unidl.replacements import loaded
answer = {{"off": {{one["name"]: one["why"] for one in off}}, "corrects": [one["corrects"] for one in off],
    "said": [words for words in said if "Keras " in words[1]], "loss": trainer.history["loss"],
    "why": trainer.why_not_compiled, "steps": loop.steps_per_dispatch,
    "versions": loaded("unidl_{NAME}.kernels")._versions()}}
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What a process says of a training after a change to Keras, or what else it is asked for."""
    folder = tmp_path_factory.mktemp("changed")

    @functools.cache
    def said(change: str, asked: str = ANSWER):
        (folder / "code").write_text(f"{BEGIN}\n{change}\n{asked}")
        nursery.begin()
        assert nursery.wait() == 0, nursery.said()
        return json.loads((folder / "answer").read_text())

    code = f"folder = {str(folder)!r}\nexec(open(folder + '/code').read())\n"
    with Nursery(NAME, f"{code}with open(folder + '/answer', 'w') as file: json.dump(answer, file)") as nursery:
        yield said


@pytest.fixture(scope="module")
def as_installed(trained):
    return trained("")


def test_with_the_keras_that_is_installed_all_are_on(as_installed):
    assert as_installed["off"] == {}
    assert as_installed["said"] == []


@pytest.mark.faults
def test_a_version_alone_turns_none_off(trained, as_installed):
    """The same steps a dispatch, and the same numbers."""
    found = trained("keras.__version__ = '3.16.0'")
    assert "keras 3.16.0" in found["versions"]
    assert found | {"versions": as_installed["versions"]} == as_installed


MOVED = f"""
import importlib.abc
class Moved(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == {NN!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Moved())
kept = sys.modules.pop({NN!r})
"""


def test_with_a_private_module_moved_away_it_trains_and_says_what_is_off(trained, as_installed):
    found = trained(MOVED)
    assert KERNEL in found["off"]
    assert all(f"this Keras has no {NN}." in why for name, why in found["off"].items() if name != "convolution")
    assert "Embedding" not in found["off"]
    assert found["loss"] == pytest.approx(as_installed["loss"], rel=1e-4)
    told = [text for level, text in found["said"] if level == "INFO"]
    assert any(KERNEL in text and "which is slower" in text for text in told)


def test_a_correction_that_cannot_be_applied_is_a_warning(trained):
    """Its numbers stay wrong; a kernel that is merely faster is not worth one."""
    moved = {
        "jax": "",  # none is needed there
        "torch": MOVED,
        "tensorflow": "from keras.src.optimizers.base_optimizer import BaseOptimizer as base\n"
        "right = base._filter_empty_gradients\n"
        "base._filter_empty_gradients = lambda self, grads, vars, more=None: right(self, grads, vars)",
    }[NAME]
    found = trained(moved)
    warned = [text for level, text in found["said"] if level == "WARNING"]
    name = {"jax": None, "torch": "average pooling", "tensorflow": "repeated tokens"}[NAME]
    assert [text for text in warned if f"the correction of {name} cannot be applied" in text] == (
        warned if name else []
    )
    assert bool(warned) == (name is not None)


def test_a_function_with_other_arguments_is_left_to_keras(trained, as_installed):
    change = f"""
module = sys.modules[{NN!r}]
right = module.{FUNCTION}
def changed(*arguments, scale=None, **options):
    return right(*arguments, **options)
module.{FUNCTION} = changed
"""
    found = trained(change)
    assert list(found["off"]) == [KERNEL]
    assert "takes other arguments here: (*arguments, scale=None, **options)" in found["off"][KERNEL]
    assert found["loss"] == pytest.approx(as_installed["loss"], rel=1e-4)


@pytest.mark.faults
def test_a_function_that_computes_something_else_is_left_to_keras(trained):
    """The others stay on."""
    owner, attribute, kernel = {
        "jax": (f"sys.modules[{NN!r}]", "max_pool", "max-pooling"),
    }.get(NAME, ("keras.layers.BatchNormalization", "call", "BatchNormalization"))
    change = f"""
import functools
right = {owner}.{attribute}
@functools.wraps(right)
def changed(*arguments, **options):
    return 1.5 * right(*arguments, **options)
{owner}.{attribute} = changed
"""
    asked = f"""
registry.current()
from unidl.replacements import loaded
answer = loaded("unidl_{NAME}.kernels").checked()
"""
    found = dict(trained(change, asked))
    assert "its values differ from Keras" in found.pop(kernel)
    assert set(found.values()) == {None}


PACKAGE = f"unidl_{NAME}"


def newly_begun(*names):
    """The kernels of the adapter as a new process has them, but two only, or those with these names: a check of all
    takes seconds. And the names of those that it checks."""
    kernels, checked = copy.copy(loaded(f"{PACKAGE}.kernels")), []
    disagreement = kernels._disagreement

    def counted(one, others):
        checked.append(one.name)
        return disagreement(one, others)

    few = [one for one in kernels.entries if one.name in (names or (KERNEL, kernels.entries[-1].name))]
    vars(kernels).update(entries=few, _outcomes={}, _disagreement=counted)
    return kernels, checked


def outcome():
    """How many kernels a new process checks, and what it finds."""
    kernels, checked = newly_begun()
    found = dict(kernels.why_not())
    return len(checked), found


def test_a_second_process_does_not_check(backend, tmp_path, monkeypatch):
    """The first one takes seconds for it."""
    monkeypatch.setenv("UNIDL_CACHE_DIR", str(tmp_path))
    count, found = outcome()
    assert count == len(found) > 0
    assert outcome() == (0, found)
    [file] = tmp_path.iterdir()
    content = json.loads(file.read_text())
    [key] = content["kept"]
    assert all(part in key for part in ("unidl ", "Python ", f"{NAME} ", "keras ", "numpy "))
    content["kept"][key][KERNEL] = "written by this test"
    file.write_text(json.dumps(content))
    count, found = outcome()
    assert (count, found[KERNEL]) == (0, "written by this test")
    del content["kept"][key][KERNEL]
    file.write_text(json.dumps(content))
    assert outcome() == (1, dict.fromkeys(found))
    file.write_text("{" + json.dumps(content))
    assert outcome() == (len(found), dict.fromkeys(found))


def test_where_only_corrections_are_used_only_they_are_checked(backend, tmp_path, monkeypatch):
    """The others take seconds, for which a person would wait before the first prediction."""
    monkeypatch.setenv("UNIDL_CACHE_DIR", str(tmp_path))
    corrections = [one.name for one in loaded(f"{PACKAGE}.kernels").entries if one.corrects]
    some = [*corrections, KERNEL]
    kernels, checked = newly_begun(*some)
    with kernels.where_sound(faster=False):
        assert checked == corrections
    assert kernels.off(faster=False) == ()
    assert checked == corrections
    [file] = tmp_path.iterdir()
    [kept] = json.loads(file.read_text())["kept"].values()
    assert kept == dict.fromkeys(corrections)
    again, checked_again = newly_begun(*some)
    assert again.off(faster=False) == ()
    assert checked_again == []
    with again.where_sound():
        assert checked_again == [KERNEL]
    [kept] = json.loads(file.read_text())["kept"].values()
    assert kept == dict.fromkeys(some)
    assert kernels.off() == ()
    assert checked == corrections, "the other process has kept what is missing"
    with kernels.where_sound(faster=False):
        pass
    [kept] = json.loads(file.read_text())["kept"].values()
    assert kept == dict.fromkeys(some)


def test_what_is_off_is_said_once_as_soon_as_it_is_known(backend, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("UNIDL_CACHE_DIR", str(tmp_path))
    caplog.set_level("INFO", "unidl")
    correction = next(one.name for one in loaded(f"{PACKAGE}.kernels").entries if one.corrects)
    kernels, _ = newly_begun(correction, KERNEL)
    entries = [dataclasses.replace(one, check=lambda in_use: "it differs") for one in kernels.entries]
    vars(kernels).update(entries=entries)
    kernels.why_not(faster=False)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert f"the correction of {correction} cannot be applied" in caplog.text
    assert [one.name for one in kernels.off()] == [correction, KERNEL]
    assert kernels.off() == kernels.off(faster=True)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert KERNEL in caplog.records[-1].getMessage()


def test_another_process_finds_the_same_key(backend, as_installed):
    """Nothing in the key differs from process to process."""
    assert as_installed["versions"] == loaded(f"{PACKAGE}.kernels")._versions()


def test_kernels_that_cannot_be_imported_are_a_warning_once(backend, caplog):
    kernels = Replacements((), package=PACKAGE, why_none="it cannot be imported")
    for faster in (False, True, True):
        with kernels.where_sound(faster=faster):
            pass
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert "it cannot be imported" in record.getMessage()
    assert [one.name for one in kernels.off()] == ["all kernels"]


def test_a_changed_keras_leaves_what_others_have_found(backend, tmp_path, monkeypatch):
    """Else they would check again, for seconds, after a single process with another library that changes Keras."""
    monkeypatch.setenv("UNIDL_CACHE_DIR", str(tmp_path))
    _, found = outcome()
    kernels, checked = newly_begun()
    first, *others = kernels.entries
    moved = dataclasses.replace(first, place=dataclasses.replace(first.place, owner=None))
    vars(kernels).update(entries=[moved, *others])
    assert "this Keras has no" in str(kernels.why_not()[first.name])
    assert checked == []
    assert outcome() == (0, found)


def test_another_version_and_another_floating_type_are_checked_anew(backend, tmp_path, monkeypatch):
    monkeypatch.setenv("UNIDL_CACHE_DIR", str(tmp_path))
    assert outcome()[0] > 0
    with monkeypatch.context() as changed:
        changed.setattr(keras, "__version__", "3.16.0")
        assert outcome()[0] > 0
    keras.config.set_floatx("float64")
    try:
        assert outcome()[0] > 0
    finally:
        keras.config.set_floatx("float32")
    assert outcome()[0] == 0


def test_where_nothing_can_be_kept_it_works_all_the_same(backend, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("UNIDL_CACHE_DIR", str(tmp_path / "file"))
    count, found = outcome()
    assert count == len(found) > 0

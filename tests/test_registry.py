"""Which backend runs, who decides it, and what a person is told when it cannot."""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path

import processes
import pytest

import unidl
from unidl import registry
from unidl.agreement.request import requested_settings as verification
from unidl.compare.request import requested_groups as comparison
from unidl.errors import BackendError, UsageError
from unidl.machine.versions import version_of

UNDER_TEST = os.environ["UNIDL_BACKEND"]
OURS = ["jax", "torch", "tensorflow"]
NOTHING_CHOSEN = dict.fromkeys(processes.CHOICES)
SELECTED = "import unidl; {before}; print([row.name for row in unidl.backends() if row.selected])"


def selected(before: str = "pass", **environment: str) -> str:
    return processes.python(SELECTED.format(before=before), **NOTHING_CHOSEN | environment)


def error_of(code: str, **environment: str) -> str:
    """The text of the BackendError that `code` raises."""
    wrapped = f"import unidl\ntry:\n    {code}\nexcept unidl.UnidlError as error:\n    print(error)"
    return processes.python(wrapped, **NOTHING_CHOSEN | environment)


def missing() -> str:
    """One of our backends that is not installed here."""
    absent = [row.name for row in unidl.backends() if not row.installed]
    if not absent:
        pytest.skip("every framework is installed here")
    return absent[0]


def test_our_three_adapters_are_known():
    assert [row.name for row in unidl.backends()][:3] == OURS


def test_backends_tells_version_and_why_not():
    for row in unidl.backends():
        assert row.installed == (row.version is not None)
        if not row.installed:
            assert f"pip install 'unidl[{row.name}]'" in row.why_not
    [row] = [row for row in unidl.backends() if row.name == UNDER_TEST]
    assert row.installed
    assert row.why_not is None


def test_use_goes_before_every_variable():
    assert selected(f"unidl.use('{UNDER_TEST}')", UNIDL_BACKEND="nonsense") == f"['{UNDER_TEST}']"


def test_unidl_backend_goes_before_keras_backend():
    assert selected(UNIDL_BACKEND="torch", KERAS_BACKEND="tensorflow") == "['torch']"


def test_keras_backend_goes_before_what_is_installed():
    assert selected(KERAS_BACKEND="tensorflow") == "['tensorflow']"


def test_the_first_installed_is_taken_when_nobody_chose():
    installed = [row.name for row in unidl.backends() if row.installed]
    assert selected() == f"['{installed[0]}']"


@pytest.mark.once
def test_the_choice_is_said_once_in_the_log():
    code = (
        "import logging; logging.basicConfig(level='INFO', format='%(message)s', force=True)\n"
        "from unidl import registry; registry.current(); registry.current()"
    )
    done = processes.run(sys.executable, "-c", code, UNIDL_BACKEND=UNDER_TEST)
    said = [line for line in done.stderr.splitlines() if line.startswith("backend ")]
    assert said == [f"backend {UNDER_TEST} {registry.current().versions()[UNDER_TEST]} (chosen by UNIDL_BACKEND)"]


@pytest.mark.parametrize("code", ["unidl.use('pytorch')", "unidl.registry.current()"])
def test_an_unknown_name_lists_the_known_ones(code):
    said = error_of(f"import unidl.registry; {code}", UNIDL_BACKEND="pytorch")
    assert "Unknown backend 'pytorch'" in said
    for name in OURS:
        assert f"'{name}'" in said


def test_a_missing_framework_names_the_extra():
    name = missing()
    said = error_of("import unidl.registry; unidl.registry.current()", UNIDL_BACKEND=name)
    assert f"Cannot use backend '{name}'" in said
    assert f"pip install 'unidl[{name}]'" in said


@pytest.mark.once
def test_keras_on_another_backend_says_so_and_what_to_do():
    other = "torch" if UNDER_TEST != "torch" else "jax"
    # Keras counts as imported on the backend under test; the other framework need not be there to say so.
    code = (
        "import keras, importlib.util, unidl.registry as r; find = importlib.util.find_spec; "
        "importlib.util.find_spec = lambda name, *a: find('keras') if name == "
        f"'{other}' else find(name, *a); unidl.use('{other}')"
    )
    said = error_of(code, KERAS_BACKEND=UNDER_TEST)
    assert f"Cannot use backend '{other}': Keras already runs on '{UNDER_TEST}'" in said
    assert f"UNIDL_BACKEND={other}" in said


VARIABLES = dict(registry.adapters()[UNDER_TEST].environment) | registry.adapters()[UNDER_TEST].memory_on_demand


@cache
def after_importing(imports: str) -> list[str]:
    """What a process whose Keras was chosen by KERAS_BACKEND says: the variables of the framework once both are
    imported, which backends it chose, and on which Keras runs."""
    code = "import os, sys; from unidl import build_cnn; assert 'keras' not in sys.modules" if imports[0] == "u" else ""
    code += f"\nimport os, {imports}; print({{name: os.environ.get(name) for name in {list(VARIABLES)}}})\n{CHOSEN}"
    variables = NOTHING_CHOSEN | {"KERAS_BACKEND": UNDER_TEST} | dict.fromkeys(VARIABLES)
    return processes.python(code, **variables).splitlines()


def test_keras_imported_first_is_respected():
    assert after_importing("keras, unidl")[1:] == [f"{UNDER_TEST} {UNDER_TEST}"]


KERAS_RUNS_ON = "import keras; print(keras.backend.backend())"
CHOSEN = "from unidl import registry; registry.current(); print(registry.choice()[0].name, keras.backend.backend())"
OTHER = "torch" if UNDER_TEST != "torch" else "jax"
SEEMS_INSTALLED = (
    "import importlib.util; find = importlib.util.find_spec\n"
    f"importlib.util.find_spec = lambda name, *a: find('json' if name == '{OTHER}' else name, *a)\n"
)
"""The framework that is not under test need not be there for its messages."""


def test_keras_imported_after_unidl_runs_on_what_was_chosen():
    code = f"import sys; from unidl import build_cnn; assert 'keras' not in sys.modules; import keras; {CHOSEN}"
    assert processes.python(code, **NOTHING_CHOSEN | {"UNIDL_BACKEND": UNDER_TEST}) == f"{UNDER_TEST} {UNDER_TEST}"
    assert after_importing("unidl, keras")[1:] == [f"{UNDER_TEST} {UNDER_TEST}"], "chosen by KERAS_BACKEND"


@pytest.mark.once
def test_keras_imported_after_unidl_hears_of_the_last_word():
    code = (
        f"import os, unidl; unidl.use('{UNDER_TEST}'); os.environ['UNIDL_BACKEND'] = '{OTHER}'; import keras; {CHOSEN}"
    )
    heard = processes.python(code, UNIDL_BACKEND=OTHER, KERAS_BACKEND=OTHER, UNIDL_DEVICE=None)
    assert heard == f"{UNDER_TEST} {UNDER_TEST}"


@pytest.mark.once
def test_unidl_backend_goes_before_keras_backend_when_keras_is_imported():
    assert (
        processes.python(f"import unidl; {KERAS_RUNS_ON}", UNIDL_BACKEND=UNDER_TEST, KERAS_BACKEND=OTHER) == UNDER_TEST
    )


@pytest.mark.once
def test_keras_imported_after_unidl_runs_on_the_first_installed_when_nobody_chose():
    code = (
        "import logging; logging.basicConfig(level='INFO', format='%(message)s', force=True); import unidl, keras\n"
        "print(keras.backend.backend()); unidl.registry.current()"
    )
    done = processes.run(sys.executable, "-c", code, **NOTHING_CHOSEN)
    [first, *_] = [row.name for row in unidl.backends() if row.installed]
    assert done.stdout.strip() == first
    assert "(the first one installed; UNIDL_BACKEND chooses another)" in done.stderr


@pytest.mark.once
def test_a_choice_that_cannot_be_followed_leaves_keras_alone_and_is_an_error_later():
    code = (
        f"import unidl; {KERAS_RUNS_ON}\n"
        "try:\n    unidl.build_cnn()\nexcept unidl.errors.BackendError as error:\n    print(error)"
    )
    lines = processes.python(code, UNIDL_BACKEND="pytorch", KERAS_BACKEND=UNDER_TEST).splitlines()
    assert lines[0] == UNDER_TEST
    assert lines[1].startswith("Unknown backend 'pytorch' (from UNIDL_BACKEND).")


@pytest.mark.once
def test_keras_imported_before_unidl_on_another_backend_names_the_order_and_the_variable():
    code = SEEMS_INSTALLED + "import keras\nimport unidl\n{setting}\n"
    code += "try:\n    unidl.{call}\nexcept unidl.UnidlError as error:\n    print(error)"
    for call, variables in (("build_cnn()", {"UNIDL_BACKEND": OTHER}), (f"use('{OTHER}')", {})):
        said = processes.python(
            code.format(setting="pass", call=call), **NOTHING_CHOSEN | {"KERAS_BACKEND": UNDER_TEST} | variables
        )
        assert f"Cannot use backend '{OTHER}': Keras already runs on '{UNDER_TEST}'" in said
        assert f"Keras was imported before unidl and selected '{UNDER_TEST}' from KERAS_BACKEND." in said
        assert f"Start with KERAS_BACKEND={OTHER}, or put `import unidl` before `import keras`" in said
    said = processes.python(
        code.format(setting="import os; del os.environ['KERAS_BACKEND']", call="build_cnn()"),
        **NOTHING_CHOSEN | {"KERAS_BACKEND": UNDER_TEST, "UNIDL_BACKEND": OTHER},
    )
    assert f"selected '{UNDER_TEST}' from its default or ~/.keras/keras.json" in said


@pytest.mark.parametrize("imports", ["unidl, keras", "keras, unidl"])
def test_whichever_comes_first_the_framework_finds_its_variables_set(imports):
    assert after_importing(imports)[0] == str(VARIABLES)


WHEN_IMPORTED = """
import importlib.machinery, os, sys, unidl.registry
class Told:
    def create_module(self, spec):
        print(os.environ.get({variable!r}), flush=True)
        os._exit(0)
    def exec_module(self, module):
        pass
class Finder:
    def find_spec(name, path=None, target=None):
        if name == {module!r}:
            return importlib.machinery.ModuleSpec(name, Told(), is_package=True)
sys.meta_path.insert(0, Finder)
unidl.registry.current()
"""
"""Says what a variable is when the framework begins to be imported, and ends there: the import takes seconds."""


def test_memory_is_taken_on_demand_unless_one_setting_says_otherwise():
    variables = {"jax": "XLA_PYTHON_CLIENT_PREALLOCATE", "tensorflow": "TF_FORCE_GPU_ALLOW_GROWTH"}
    if UNDER_TEST not in variables:
        pytest.skip("PyTorch takes memory on demand by itself")
    variable = variables[UNDER_TEST]
    code = WHEN_IMPORTED.format(variable=variable, module=registry.adapters()[UNDER_TEST].module)
    expected = {"jax": "false", "tensorflow": "true"}[UNDER_TEST]
    assert processes.python(code, **{variable: None}) == expected
    assert processes.python(code, UNIDL_PREALLOCATE="1", **{variable: None}) == "None"
    assert processes.python(code, **{variable: "mine"} if UNDER_TEST == "jax" else {variable: "false"}) != expected


HIDDEN = """
import importlib.metadata as metadata
read = metadata.Distribution.from_name
def from_name(name):
    if name in {names}:
        raise metadata.PackageNotFoundError(name)
    return read(name)
metadata.Distribution.from_name = from_name
metadata.packages_distributions = lambda: {{}}
"""
"""A framework that came by a distribution of another name, as tensorflow-cpu, tf-nightly, or built from source."""


def test_a_framework_may_come_by_a_distribution_of_any_name():
    names = {*unidl.registry.adapters()[UNDER_TEST].distributions, "jaxlib", "keras", "scikit-learn", "numpy"}
    code = HIDDEN.format(names=names)
    code += "from unidl import Trainer, build_cnn, load_data, registry\n"
    code += "digits = load_data('digits').test\n"
    code += "trainer = Trainer(build_cnn((28, 28, 1), 10, filters=(2,)))\n"
    code += "trainer.fit((digits.x[:8], digits.y[:8]), batch_size=8, progress='quiet')\n"
    code += "print(registry.version(registry.adapters()[trainer.backend.name]), trainer.why_not_compiled)"
    assert processes.python(code) == "unknown None"


def test_the_version_of_a_distribution_of_another_name_is_found():
    assert version_of("pytest", ("a-distribution-that-is-not-there",)) == pytest.__version__
    assert version_of("no_such_module", ()) == "unknown"


@pytest.fixture
def third_party(tmp_path: Path) -> dict[str, str]:
    """Install a third-party distribution to a folder, and return the environment that finds it."""
    information = tmp_path / "unidl_third_party-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: unidl-third-party\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[unidl.backends]\nthird_party = unidl_third_party:ADAPTER\n")
    source = Path(__file__).parent / "third_party" / "unidl_third_party.py"
    (tmp_path / source.name).write_text(source.read_text())
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    return {"PYTHONPATH": path, "THIRD_PARTY_RUNS_ON": UNDER_TEST, "UNIDL_BACKEND": "third_party"}


@pytest.mark.once
def test_a_third_party_adapter_passes_the_suite_with_no_change_in_the_core(third_party, tmp_path):
    test = tmp_path / "test_third_party.py"
    test.write_text(
        "from unidl.testing import BackendConformance\n"
        "class TestThirdParty(BackendConformance):\n    backend_name = 'third_party'\n"
    )
    done = processes.run(
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(test), cwd=tmp_path, **third_party
    )
    assert " passed" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0


def test_a_third_party_adapter_is_listed_after_ours(third_party):
    code = "import unidl; print([(row.name, row.version) for row in unidl.backends()][3:])"
    assert processes.python(code, **third_party) == "[('third_party', '1.0')]"


def test_a_broken_adapter_says_why_and_leaves_the_others_alone(third_party, tmp_path):
    for source, why in (
        ("ADAPTER = 3", "must be a unidl.backend.Adapter, but is a int"),
        ("import no_such_module", "no_such_module"),
    ):
        (tmp_path / "unidl_third_party.py").write_text(source + "\n")
        said = error_of("import unidl.registry; unidl.registry.current()", **third_party)
        assert "Cannot use backend 'third_party'" in said
        assert why in said
        code = "import unidl; print([row.why_not for row in unidl.backends() if row.name == 'third_party'][0])"
        assert why in processes.python(code, **third_party | {"UNIDL_BACKEND": UNDER_TEST})


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("def memory(self, device, reset=False)", "def memory(self, device)", "calls memory(device, reset=False)"),
        ("def on(self, device)", "def on(self, where)", "ThirdPartyBackend has on(where)"),
        ("self, model, *, device, steps=None", "self, model, device, steps", "compile_loop(model, device, steps)"),
        ("def versions(self)", "def version(self)", "ThirdPartyBackend has no method versions()"),
    ],
)
def test_an_adapter_with_other_arguments_is_refused_by_name(third_party, tmp_path, right, wrong, said):
    path = tmp_path / "unidl_third_party.py"
    source = path.read_text()
    assert source.count(right) == 1
    path.write_text(source.replace(right, wrong))
    answer = error_of("import unidl.registry; unidl.registry.current()", **third_party)
    assert (
        "Cannot use backend 'third_party' of the plugin unidl-third-party 1.0 (unidl_third_party:ADAPTER): " in answer
    )
    assert said in answer
    assert "Install a version of the plugin that supports unidl" in answer


@pytest.mark.once
@pytest.mark.parametrize(
    ("right", "wrong", "test"),
    [
        ("return keras.tree.map_structure(lambda array: array[rows], tree)", "return tree[rows]", "nests"),
        ("self.rows_seen += len(rows)", "self.rows_seen += 4", "left_over"),
        ("in chunk.data.parts()", "in vars(self).setdefault('first', chunk.data).parts()", "rows_of_its_own"),
        ("def read(self):", "def read(self, wait):", "take_what"),
    ],
)
def test_the_suite_fails_on_a_third_party_adapter_that_is_wrong(third_party, tmp_path, right, wrong, test):
    path = tmp_path / "unidl_third_party.py"
    source = path.read_text()
    assert source.count(right) == 1
    path.write_text(source.replace(right, wrong))
    suite = tmp_path / "test_third_party.py"
    suite.write_text(
        "from unidl.testing import BackendConformance\n"
        "class TestThirdParty(BackendConformance):\n    backend_name = 'third_party'\n"
    )
    words = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", test, str(suite))
    done = processes.run(sys.executable, *words, cwd=tmp_path, **third_party)
    assert done.returncode == 1, done.stdout + done.stderr
    assert " failed" in done.stdout


def compared(backends=None):
    return comparison(
        models=None, backends=backends, device="cpu", precisions=["float32"], batch_sizes=None, against=()
    )


def verified(backends=None):
    return verification(backends, ["cpu"], ["float32"], ["unidl"])


@pytest.mark.parametrize("ask", [compared, verified])
def test_who_asks_for_several_is_told_the_same(ask, monkeypatch):
    with pytest.raises(UsageError, match=r"^Cannot use backend 'pytorch'\. Known: jax, torch, tensorflow"):
        ask(["torch", "pytorch"])
    monkeypatch.setattr(registry, "version", lambda adapter: None)
    with pytest.raises(BackendError, match=r"framework is installed\. Install one of:\n  pip install"):
        ask()


def test_who_asks_for_several_gets_each_once():
    assert registry.requested_backends(["torch", "jax", "torch"]) == ["torch", "jax"]
    assert UNDER_TEST in registry.requested_backends()

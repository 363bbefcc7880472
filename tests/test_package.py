"""The package as a whole: public names, light imports, documentation of names, the tree of errors."""

import ast
import importlib
import importlib.util
import inspect
import pkgutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import prlhf
from prlhf import errors

ROOT = Path(__file__).parents[1]
MODULES = [m.name for m in pkgutil.walk_packages(prlhf.__path__, "prlhf.")]
PUBLIC = [
    "Comparison",
    "Message",
    "PersonalizedLM",
    "RunConfig",
    "Thumb",
    "User",
    "__version__",
    "evaluate",
    "load_comparisons",
    "split",
    "train",
]


def test_public_names_are_these():
    assert sorted(prlhf.__all__) == PUBLIC


@pytest.mark.parametrize("name", [name for name in PUBLIC if name[0] != "_"])
def test_public_names_are_callable_even_after_a_module_of_that_name(name):
    for package in ("prlhf.training", "prlhf.evaluation", "prlhf.data"):
        if importlib.util.find_spec(f"{package}.{name}"):
            importlib.import_module(f"{package}.{name}")
    found = getattr(prlhf, name)
    assert callable(found) and inspect.getdoc(found)


def test_version_is_that_of_the_project():
    about = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]
    assert prlhf.__version__ == about["version"]
    assert f"version: {about['version']}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf8")


def test_unknown_name():
    with pytest.raises(AttributeError, match="no attribute 'nonesuch'"):
        prlhf.nonesuch  # noqa: B018


@pytest.mark.parametrize(
    "modules",
    [
        "prlhf",
        "prlhf.errors, prlhf.types, prlhf.config",
        "prlhf.data",
        "prlhf.evaluation",
        "prlhf.lm, prlhf.users, prlhf.rewards",
        "prlhf.training.reward.run, prlhf.training.reward.compare",
    ],
)
def test_light_imports(modules):
    code = (
        f"import sys, {modules}\n"
        "heavy = {'torch', 'transformers', 'peft', 'accelerate', 'datasets', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_error_is_ours_and_one_of_the_standard_library():
    ours = [getattr(errors, name) for name in errors.__all__ if name != "PrlhfError"]
    assert len(ours) == 6
    for error in ours:
        assert issubclass(error, errors.PrlhfError)
        assert any(base.__module__ == "builtins" and base is not Exception for base in error.__bases__)
        assert error.__name__ in errors.__doc__


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_is_and_exports_what_it_says(name):
    module = importlib.import_module(name)
    if Path(module.__file__).name == "__init__.py" and not Path(module.__file__).stat().st_size:
        return  # an empty package
    assert module.__doc__, f"{name} has no docstring"
    for public in getattr(module, "__all__", []):
        assert hasattr(module, public), f"{name}.__all__ names {public}, which is not there"


def test_every_public_name_is_documented():
    silent = []
    for path in sorted((ROOT / "src").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf8"))
        for node in tree.body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name[0] != "_" and not ast.get_docstring(node):
                silent.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert not silent, "without docstring:\n" + "\n".join(silent)

"""What code a stage runs: a digest over the modules it imports, directly or not, and the packages behind them."""

import ast
import hashlib
import sys
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pipeline

_ROOT = Path(pipeline.__file__).parent

# Import name -> distribution of the packages whose version may change a result. Packages that only read settings,
# print or draw are left out on purpose: a new `rich` must not retrain a network.
_RESULT_PACKAGES = {
    "cv2": "opencv-python-headless",
    "higra": "higra",
    "lightning_fabric": "lightning-fabric",
    "numpy": "numpy",
    "PIL": "pillow",
    "pycocotools": "pycocotools",
    "pydensecrf": "pydensecrf2",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "timm": "timm",
    "torch": "torch",
    "torchvision": "torchvision",
}


def code_digests(*modules: str) -> dict[str, str]:
    """Digest of every module of ``pipeline`` that the named ones import, and versions of result-shaping packages.

    Comments, docstrings and layout do not count. Imports inside functions do; imports by a computed name are not
    seen, so a stage that dispatches names what it dispatches to.

    Returns:
        Module or package name -> short digest or version, sorted by name.
    """
    found = _walk(modules)
    seen = {name: digest for name, (digest, _) in found.items()}
    for package in imported_packages(*modules) & _RESULT_PACKAGES.keys():
        distribution = _RESULT_PACKAGES[package]
        seen[distribution] = installed(distribution)
    return dict(sorted(seen.items()))


def imported_packages(*modules: str) -> set[str]:
    """Import names of the outside packages behind modules of ``pipeline``, Python's own library left out."""
    outside = set().union(*(outside for _, outside in _walk(modules).values()))
    return outside - sys.stdlib_module_names


def _walk(modules: Sequence[str]) -> dict[str, tuple[str, frozenset[str]]]:
    """Every module the named ones import, directly or not: its digest, and the outside packages it imports."""
    found: dict[str, tuple[str, frozenset[str]]] = {}
    queue = list(modules)
    while queue:
        name = queue.pop()
        if name not in found:
            digest, imported, outside = _inspect(name)
            found[name] = digest, outside
            queue += imported
    return found


def installed(distribution: str) -> str:
    """Version of a package in this environment, or "absent"."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "absent"


def packages(code: dict[str, str]) -> dict[str, str]:
    """The packages, with their versions, among what :func:`code_digests` found."""
    return {name: found for name, found in code.items() if name.partition(".")[0] != "pipeline"}


@cache
def _inspect(module: str) -> tuple[str, tuple[str, ...], frozenset[str]]:
    """Digest of one module, the modules of ``pipeline`` it imports, the outside packages it imports."""
    path = _module_file(module)
    if path is None:
        raise ModuleNotFoundError(f"{module} is no module of the package")
    tree = ast.parse(path.read_text())
    inside: set[str] = set()
    outside: set[str] = set()
    for name in _take_apart(tree):
        top = name.partition(".")[0]
        if top != "pipeline":
            outside.add(top)
        elif resolved := _resolve(name):
            inside |= resolved
    digest = hashlib.sha256(ast.unparse(tree).encode())
    # What a module compiles or reads lies beside it: native.py and native/*.cpp, page.py and page/*.js.
    for source in sorted(path.with_suffix("").glob("*")):
        if source.is_file() and source.suffix != ".py":
            digest.update(source.read_bytes())
    return digest.hexdigest()[:12], tuple(sorted(inside)), frozenset(outside)


def _take_apart(tree: ast.Module) -> set[str]:
    """Remove the docstrings of a tree and return the names it imports: one walk, since every dry run waits for it."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            # Text stands first, or below a constant it explains.
            node.body = [each for each in node.body if not _is_text(each)] or [ast.Pass()]
    return names


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _resolve(name: str) -> set[str]:
    """The longest prefix of a dotted name that is a module."""
    while name and _module_file(name) is None:
        name = name.rpartition(".")[0]
    return {name} if name else set()


def _module_file(module: str) -> Path | None:
    parts = module.split(".")[1:]
    base = _ROOT.joinpath(*parts)
    for path in (base.with_suffix(".py") if parts else None, base / "__init__.py"):
        if path is not None and path.is_file():
            return path
    return None

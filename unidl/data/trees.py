"""Nests of arrays: dicts, lists and tuples with arrays as leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from unidl.backend import Tree


def is_nest(tree: Any) -> bool:
    """Return whether `tree` contains arrays instead of being one.

    A list of numbers, or of lists of numbers, is one array; only its first member is checked, since members are
    alike.
    """
    if isinstance(tree, dict):
        return True
    if not isinstance(tree, (list, tuple)) or not tree:
        return False
    first = tree[0]
    return is_nest(first) or len(getattr(first, "shape", ())) > 0


def named_leaves(tree: Tree, name: str) -> Iterator[tuple[str, Any]]:
    """Yield each leaf with its path in Python notation: "x", "x['image']", "x[0]". None has no leaves."""
    if is_nest(tree):
        members = tree.items() if isinstance(tree, dict) else enumerate(tree)
        for key, member in members:
            yield from named_leaves(member, f"{name}[{key!r}]")
    elif tree is not None:
        yield name, tree


def stacking(tree: Tree, name: str) -> str:
    """Return advice for a list of arrays of equal shape, which may have been intended as one array; "" for others."""
    shapes = {getattr(member, "shape", None) for member in tree} if isinstance(tree, (list, tuple)) else set()
    if len(shapes) != 1 or len(tree) < 2 or None in shapes:
        return ""
    return (
        f"{name} is a list of {len(tree):,} arrays of shape {shapes.pop()}, each of which is treated as a separate "
        f"input or "
        f"output. If each is one sample, pass numpy.stack({name})."
    )


def leaves(tree: Tree) -> list[Any]:
    """Return the arrays of a nest in order; a dict keeps its insertion order."""
    return [leaf for _, leaf in named_leaves(tree, "")]


def map_leaves(function: Callable[[Any], Any], tree: Tree) -> Tree:
    """Return a nest of the same structure with `function` applied to each leaf; None stays None."""
    if tree is None:
        return None
    if not is_nest(tree):
        return function(tree)
    if isinstance(tree, dict):
        return {key: map_leaves(function, member) for key, member in tree.items()}
    members = [map_leaves(function, member) for member in tree]
    return members if isinstance(tree, list) else tuple(members)

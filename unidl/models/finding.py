"""The base of a transfer model: what the arguments `base` and `weights` of `build_transfer` say."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from unidl.hub import is_installed
from unidl.model_reading import read_model
from unidl.models import backbones, bases, records
from unidl.models.arguments import Arguments
from unidl.models.backbone_features import takes_tokens
from unidl.models.building import layers_in
from unidl.paths import as_path

if TYPE_CHECKING:
    import keras


def weights_of(asked: Arguments, base: Any, weights: Any, load: bool) -> str | None:
    """Validate the argument `weights`."""
    if isinstance(weights, os.PathLike):
        weights = os.fspath(weights)
    if weights is not None and not isinstance(weights, str):
        raise asked.refused("weights", weights, "it must be 'imagenet', the path of a weights file, or None")
    asked.values["weights"] = weights
    if weights in (None, "imagenet") or not load:
        return weights
    weights = str(as_path(weights))
    if not isinstance(base, str):
        because = "only a base given by name takes weights; this one has its own"
        raise asked.refused("weights", weights, because)
    if not as_path(weights).is_file():
        because = "the file does not exist. 'imagenet' and None are also allowed"
        raise asked.refused("weights", weights, because)
    return weights


def find(
    base: Any,
    shape: tuple[int, ...] | None,
    weights: str | None,
    precision: str | None,
    policy: str,
    asked: Arguments,
    load: bool,
) -> bases.Base:
    """Return the base that the argument `base` names or is, not frozen yet. Raises `ModelError` if there is none.

    load: False for the base of a record, whose weights are loaded next.
    """
    import keras

    if isinstance(base, records.Architecture):
        return bases.from_architecture(base, precision)
    if isinstance(base, backbones.Recorded):
        return _recorded(base, policy, asked)
    if isinstance(base, backbones.Found) or backbones.is_backbone(base):
        found = base if isinstance(base, backbones.Found) else backbones.Found(base)
        return _backbone(found, shape, policy, asked)
    if isinstance(base, keras.Model):
        return bases.from_model(base, precision)
    if not isinstance(base, str | os.PathLike):
        because = "it must be a name of keras.applications, a directory or a keras.Model"
        raise asked.refused("base", base, because)
    name = os.fspath(base)
    # A record never names a directory, so that a file cannot make unidl read another one.
    if load and is_of_hub(name):
        return _backbone(backbones.read(name, asked, load=weights is not None, shape=shape), shape, policy, asked)
    if load and name not in bases.applications() and as_path(name).is_dir():
        return bases.from_model(read_model(name), precision)
    return bases.from_application(name, shape or bases.DEFAULT_SHAPE, weights, policy, asked, load=load)


def is_of_hub(name: str) -> bool:
    """Return whether a base is read by KerasHub: a folder with a config.json that is not a run, or a preset's name."""
    if as_path(name).is_dir():
        return name not in bases.applications() and backbones.is_folder(name)
    return backbones.looks_like_preset(name) and is_installed()


def read_backbone(name: str, *, load: bool) -> backbones.Found:
    """Return the backbone of a preset or folder, which `build_transfer` takes as a base. load: whether its weights.

    Raises `ModelError` if it cannot be read.
    """
    with layers_in(None):
        return backbones.read(name, Arguments("build_transfer"), load=load)


def _backbone(found: backbones.Found, shape: tuple[int, ...] | None, policy: str, asked: Arguments) -> bases.Base:
    """Return a backbone of KerasHub as a base."""
    model = backbones.model_of(found, asked.values["pooling"], policy, asked, shape)
    return _as_base(found, model, backbones.argument_of(found, model))


def _recorded(recorded: backbones.Recorded, policy: str, asked: Arguments) -> bases.Base:
    found, model = backbones.from_record(recorded, asked.values["pooling"], policy, asked)
    return _as_base(found, model, dict(recorded.values))


def _as_base(found: backbones.Found, model: keras.Model, argument: Any) -> bases.Base:
    scaling = None if found.scale is None and found.offset is None else (found.scale, found.offset)
    vectors = takes_tokens(found.backbone)
    missing = found.weights_missing
    return bases.Base(
        model,
        argument,
        weights_missing=missing,
        scaling=scaling,
        gives_vectors=vectors,
        tokenizer=found.tokenizer,
    )

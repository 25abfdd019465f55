"""Config tree: looking up keys of a config, and the parts of its model that hold a ViT."""

from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from bpt_det.utils.errors import InputError


def find_vit_owner(cfg: DictConfig) -> tuple[str, DictConfig]:
    """Return the one part of a config's model that has a ``vit`` beside it: dotted key and node.

    Beside the ``vit`` are the settings of what is built around it, such as ``prompt`` and
    ``placement``.

    Raises:
        InputError: the model has no ``vit``, or several.
    """
    owners = list(find_vit_owners(cfg))
    if len(owners) != 1:
        names = f" ({', '.join(key for key, _ in owners)})" if owners else ""
        raise InputError(
            f"the config's model needs one part with a `vit`, but has {len(owners)}{names}; the "
            "configs in configs/ show how a model is built around one."
        )
    return owners[0]


def find_vit_owners(cfg: DictConfig) -> Iterator[tuple[str, DictConfig]]:
    """Yield every part of a config's model that has a ``vit`` beside it: dotted key and node."""
    if not _has_children(cfg.model):
        return
    for key, node in (("model", cfg.model), *walk(cfg.model, "model.")):
        if _has_children(node) and isinstance(node, DictConfig):
            if OmegaConf.is_config(node.get("vit")):
                yield key, node


def has_key(cfg: DictConfig, key: str) -> bool:
    """Say whether a config has a dotted key, whose parts may be indexes of lists."""
    node: Any = cfg
    for part in key.split("."):
        if isinstance(node, ListConfig) and part.isdigit() and int(part) < len(node):
            node = node._get_node(int(part))
        elif isinstance(node, DictConfig) and part in node:
            node = node._get_node(part)
        else:
            return False
    return True


def walk(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every dotted key of a config with its node, interpolations as they are."""
    for name in node.keys() if isinstance(node, DictConfig) else range(len(node)):
        child = node._get_node(name)
        key = prefix + str(name)
        yield key, child
        if _has_children(child):
            yield from walk(child, f"{key}.")


def _has_children(node: Any) -> bool:
    return OmegaConf.is_config(node) and not node._is_none() and not node._is_interpolation()

"""Prompted classifier: a prompted ViT with a linear head.

Shape legend: B batch, P prompt_length, N patches, D embed_dim, K num_classes.
"""

import logging
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from detectron2.utils import comm
from detectron2.utils.events import get_event_storage
from torch import Tensor, nn

from bpt_det.utils.errors import InputError, check_choice, check_count
from bpt_det.vit import PromptedViT

logger = logging.getLogger(__name__)

POOLINGS = ("all", "prompts", "patches", "cls")
HEAD_INITS = ("truncated_normal", "kaiming")
FINAL_NORMS = ("pretrained", "identity")
_PRIOR = 0.01  # probability of each class that the bias of VPT's head stands for


class PromptedClassifier(nn.Module):
    """Prompted ViT, mean of its last tokens, the ViT's final norm, a linear head.

    The order is that of WangYZ1608/BPT@9fc3c78 Models/MAE_bpt_shallow.py for MAE: the mean of
    prompts and patches, then the norm. With ``cls``, for MoCo v3 and supervised pre-training, the
    norm of the class token is the class token of the norm, since LayerNorm treats tokens one by
    one. The head starts with a truncated normal of standard deviation 0.02 and a bias of 0.

    VPT (KMnP/vpt@4410440) differs in both. Its head, src/models/mlp.py, is ``kaiming``: normal of
    variance 2 / K, with a bias of -log(99). Where that makes the first loss more than twice that of
    chance, log K, a warning says so. Its MAE, src/models/vit_backbones/vit_mae.py, drops the
    pre-trained final norm for one whose scale stays 1 and whose shift stays 0: ``identity``.

    Features of a masked autoencoder share most of their length, and a head learns slowly from them.
    With ``head_batch_norm`` each channel is brought to a mean of 0 and a variance of 1 before the
    head, by the batch in training and by running averages in evaluation, as in MAE's linear probing
    (arXiv:2111.06377, A.1; facebookresearch/mae main_linprobe.py: no affine part, eps of 1e-6).
    Here the batch is that of all processes, and each of ``train.accumulate_steps`` has its own.

    A batch is a list of samples, as Detectron2's models take it: dicts with ``image`` (3, H, W),
    values in [0, 255], all of one size, and in training ``label``. ``tokens`` (1 + N, D) of
    `PromptedViT.prefix_tokens` may stand in for the image.

    Args:
        backbone: the frozen or trained ViT with its prompts.
        num_classes: K.
        pooling: what the mean is taken of: ``all`` (prompts and patches), ``prompts``,
            ``patches``, or ``cls``, the class token alone.
        head_batch_norm: whether features are normalized before the head.
        head_init: ``truncated_normal`` or ``kaiming``.
        final_norm: ``pretrained``, the ViT's, or ``identity``: a LayerNorm that starts with scale
            1 and shift 0, and is trained only with a ViT that is not frozen.
        pixel_mean, pixel_std: of each channel, in [0, 255].
        input_format: order of the channels, RGB; the datasets are read so.

    Raises:
        InputError: there are fewer than two classes, the pooling is unknown or needs prompts that
            are not there, the format is not RGB, ``head_batch_norm`` is not a bool, or another
            choice is unknown.
    """

    def __init__(
        self,
        backbone: PromptedViT,
        num_classes: int,
        *,
        pooling: str = "all",
        head_batch_norm: bool = False,
        head_init: str = "truncated_normal",
        final_norm: str = "pretrained",
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
        input_format: str = "RGB",
    ) -> None:
        super().__init__()
        _check_settings(backbone, num_classes, pooling, input_format, head_batch_norm)
        check_choice("head_init", head_init, HEAD_INITS)
        check_choice("final_norm", final_norm, FINAL_NORMS)
        self.backbone = backbone
        self.pooling = pooling
        self.input_format = input_format
        self.head_norm = nn.Identity()
        if head_batch_norm:
            kind = nn.SyncBatchNorm if comm.get_world_size() > 1 else nn.BatchNorm1d
            self.head_norm = kind(backbone.embed_dim, eps=1e-6, affine=False)
        self.head = nn.Linear(backbone.embed_dim, num_classes)
        _initialize_head(self.head, head_init)
        self._checks_first_loss = head_init == "kaiming"
        self.own_norm: nn.LayerNorm | None = None  # in place of the ViT's
        if final_norm == "identity":
            self.own_norm = nn.LayerNorm(
                backbone.embed_dim, eps=1e-6, elementwise_affine=not backbone.frozen
            )
        else:
            # PromptedViT leaves its final norm untrained, as it does not apply it; here it is.
            backbone.vit.norm.requires_grad_(not backbone.frozen)
        for name, values in (("pixel_mean", pixel_mean), ("pixel_std", pixel_std)):
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1), persistent=False)

    @property
    def checkpoint_settings(self) -> dict[str, str | bool]:
        """What a checkpoint has to agree with and does not show in the shapes of its weights."""
        has_batch_norm = not isinstance(self.head_norm, nn.Identity)
        return {
            "pooling": self.pooling,
            "head_batch_norm": has_batch_norm,
            "final_norm": "pretrained" if self.own_norm is None else "identity",
        }

    @property
    def class_layers(self) -> tuple[str, ...]:
        """The layer with a row for each class."""
        return ("head",)

    def forward(self, batch: list[dict]) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Return ``{"loss_ce": mean cross entropy}`` in training, else each sample's logits.

        Training also puts the batch's accuracy, in percent, into Detectron2's event storage as
        ``train/top1``. In evaluation the result is a list of ``{"logits": (K,) float32}``.

        Raises:
            InputError: a label is not below K, or one image is to be normalized over the batch.
        """
        logits = self.classify(self.last_tokens(batch))
        if not self.training:
            return [{"logits": row} for row in logits]
        labels = self._labels(batch)
        is_correct = logits.detach().argmax(dim=1) == labels
        storage = get_event_storage()
        storage.put_scalar("train/top1", 100 * is_correct.float().mean().item())
        loss = F.cross_entropy(logits, labels)
        if self._checks_first_loss:
            self._checks_first_loss = False
            if storage.iter == 0:
                self._warn_of_large_logits(loss.item())
        return {"loss_ce": loss}

    def normalize(self, images: Tensor) -> Tensor:
        """Return images (B, 3, H, W), values in [0, 255], as the ViT takes them."""
        return (images - self.pixel_mean) / self.pixel_std

    def last_tokens(self, batch: list[dict]) -> Tensor:
        """Return all tokens after the last block, (B, 1 + P + N, D)."""
        device = self.pixel_mean.device
        if "tokens" in batch[0]:
            tokens = torch.stack([sample["tokens"] for sample in batch])
            return self.backbone.finish(tokens.to(device, self.head.weight.dtype))
        images = torch.stack([sample["image"] for sample in batch]).to(device)
        return self.backbone.forward_tokens(self.normalize(images))

    def classify(self, tokens: Tensor) -> Tensor:
        """Return logits (B, K), float32, of all last tokens."""
        num_prefix, prompt_length = self.backbone.vit.num_prefix_tokens, self.backbone.prompt_length
        if self.pooling == "cls":
            pooled = tokens[:, 0]
        else:
            start, stop = {
                "all": (num_prefix, None),
                "prompts": (num_prefix, num_prefix + prompt_length),
                "patches": (num_prefix + prompt_length, None),
            }[self.pooling]
            pooled = tokens[:, start:stop].mean(dim=1)
        norm = self.backbone.vit.norm if self.own_norm is None else self.own_norm
        return self.head(self._normalize_channels(norm(pooled))).float()

    def _warn_of_large_logits(self, loss: float) -> None:
        chance = math.log(self.head.out_features)
        if loss > 2 * chance:
            logger.warning(
                "The first loss is %.1f, that of chance %.1f: a head that starts with "
                "model.head_init=kaiming may be too large for these features, and training may not "
                "recover; try model.head_init=truncated_normal",
                loss,
                chance,
            )

    def _normalize_channels(self, features: Tensor) -> Tensor:
        """Apply the norm before the head, in float32 under autocast, to (B, D)."""
        if isinstance(self.head_norm, nn.Identity):
            return features
        if self.training and len(features) == 1:
            raise InputError(
                "head_batch_norm=True needs batches of at least 2 images to train on, got 1; "
                "raise total_batch_size.",
                parameter="total_batch_size",
            )
        return self.head_norm(features.to(self.head.weight.dtype))

    def _labels(self, batch: list[dict]) -> Tensor:
        labels = [sample["label"] for sample in batch]
        if max(labels) >= self.head.out_features:
            sample = batch[labels.index(max(labels))]
            raise InputError(
                f"label {sample['label']} of '{sample['image_id']}' is out of range: "
                f"num_classes={self.head.out_features}; set it to the data's number.",
                parameter="num_classes",
            )
        return torch.tensor(labels, device=self.pixel_mean.device)


def _initialize_head(head: nn.Linear, name: str) -> None:
    if name == "kaiming":
        nn.init.kaiming_normal_(head.weight, a=0, mode="fan_out")
        nn.init.constant_(head.bias, -math.log((1 - _PRIOR) / _PRIOR))
    else:
        nn.init.trunc_normal_(head.weight, std=0.02)
        nn.init.zeros_(head.bias)


def _check_settings(
    backbone: PromptedViT, num_classes: int, pooling: str, input_format: str, head_batch_norm: bool
) -> None:
    check_count("num_classes", num_classes, 2, "num_classes")
    check_choice("pooling", pooling, POOLINGS)
    if pooling == "prompts" and not backbone.prompts:
        raise InputError(
            "pooling=prompts needs prompts, but the model has none; set all.", parameter="pooling"
        )
    if pooling == "cls" and getattr(backbone.vit, "cls_token", None) is None:
        raise InputError(
            "pooling=cls needs a class token, but the ViT has none; set all.", parameter="pooling"
        )
    if input_format != "RGB":
        raise InputError(
            f"input_format must be RGB for classification, got {input_format}.",
            parameter="input_format",
        )
    if not isinstance(head_batch_norm, bool):
        raise InputError(
            f"head_batch_norm must be True or False, got '{head_batch_norm}'.",
            parameter="head_batch_norm",
        )

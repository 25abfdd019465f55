"""Tables of what a benchmark measures, and of the variants of training a ViT that it compares."""

from dataclasses import dataclass, field

OF_VARIANTS = ("forward", "backbone_step", "train_step", "inference")
DATA, EVALUATION, SCORING = "data", "evaluation", "scoring"
MEASURES = (*OF_VARIANTS, DATA, EVALUATION, SCORING)


@dataclass(frozen=True)
class Variant:
    """One way to train a ViT.

    Args:
        label: name in tables.
        prompt_length: P of bilinear prompts of the same rank, or of the ViT's width if that is
            less; 0: none.
        settings: of `PromptedViTBackbone`.
        vitdet: window attention and relative positions instead, all of it trained: ``ours`` or
            ``detectron2``; empty: no.
    """

    label: str
    prompt_length: int = 0
    settings: dict = field(default_factory=dict)
    vitdet: str = ""


def _tuning(name: str, **settings: str) -> dict[str, dict[str, str]]:
    """Return the setting of a tuning method, named so that its module is imported when built."""
    return {"tuning": {"_target_": f"bpt_det.vit.tuning.{name}", **settings}}


BARE, OWN, DETECTRON2_VITDET = "bare", "config", "detectron2_vitdet"
# Sizes and placements of the methods of the same names, as a test checks. They are not composed: a
# benchmark takes any config of detection, also one that is no base and has no methods to choose.
VARIANTS = {
    BARE: Variant("bare timm ViT, as many tokens as BPT-S", prompt_length=100),
    OWN: Variant("as the config says"),
    "frozen": Variant("frozen, no prompts"),
    "bpt_s": Variant("BPT-S, P = 100", prompt_length=100),
    "bpt_s_checkpointed": Variant("BPT-S, checkpointed", 100, {"activation_checkpointing": True}),
    "bpt_d": Variant("BPT-D, last 4, P = 50", 50, {"placement": "last_4"}),
    "bpt_d_layers": Variant(
        "BPT-D, 4 layers", 50, {"placement": "last_4", "layers": "quarters", "join": "concat"}
    ),
    "bpt_d_neck": Variant("BPT-D, 2 neck blocks", 50, {"placement": "last_4", "neck_blocks": 2}),
    "lora": Variant("LoRA, r = 8, q and v", settings=_tuning("LoRA")),
    "adaptformer": Variant("AdaptFormer, m = 64", settings=_tuning("AdaptFormer")),
    "ssf": Variant("SSF", settings=_tuning("SSF")),
    "bitfit": Variant("BitFit", settings=_tuning("BitFit")),
    "partial_1": Variant("last block", settings=_tuning("TrainedBlocks", placement="last_1")),
    "full": Variant("full fine-tuning", settings={"frozen": False}),
    "vitdet_b": Variant("ViTDet, our implementation", vitdet="ours"),
    DETECTRON2_VITDET: Variant("ViTDet of Detectron2", vitdet="detectron2"),
}

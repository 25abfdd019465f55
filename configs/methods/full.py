"""Full fine-tuning: the whole ViT is trained, without prompts."""

method = dict(
    label="full fine-tuning",
    about="none, the whole ViT is trained",
    settings={"frozen": False, "vit.drop_path_rate": 0.1},
    statistics=None,
)

"""Prompt parametrizations at the sizes published for shallow prompts of ViT-B.

Widths come from the ViT beside the prompt. A config imports them under a name with an underscore,
as every other name of a dict becomes a key of the config.
"""

from detectron2.config import LazyCall as L

from bpt_det.prompts import BilinearPrompt, FreePrompt, WhitenedPrompt, Whitening

# How whitening matrices are made; docs/explanation/burstiness.md shows what each choice does.
whitening = L(Whitening)(
    eps=1e-4,
    floor="drop",
    scale="vpt",
    arithmetic="exact",  # published: the authors' to the letter, for comparison only
)

bilinear = L(BilinearPrompt)(
    embed_dim="${..vit.embed_dim}",
    prompt_length=100,
    rank=100,
    basis_init="xavier",  # or whitening, which needs statistics
    whitening=whitening,
)
whitened = L(WhitenedPrompt)(
    embed_dim="${..vit.embed_dim}", prompt_length=100, train_basis=False, whitening=whitening
)
free = L(FreePrompt)(
    embed_dim="${..vit.embed_dim}",
    patch_size="${..vit.patch_size}",
    prompt_length=100,
    init="uniform",  # VPT; SPT: kmeans, random_sample, mean_pool, max_pool, which need statistics
    init_positions=False,  # SPT, block 0: from patches with their positions
)

"""AdamW over what is trained; no weight decay on norms."""

from detectron2.config import LazyCall as L
from detectron2.solver import get_default_optimizer_params
from torch.optim import AdamW

optimizer = L(AdamW)(
    params=L(get_default_optimizer_params)(weight_decay_norm=0.0),  # the trainer adds the model
    lr=5e-4,
    betas=[0.9, 0.999],
    weight_decay=0.1,
)

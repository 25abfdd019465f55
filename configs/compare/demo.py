"""What prompts add in the budget of `make demo`: with bilinear prompts and without any.

Run:    python tools/compare.py --plan configs/compare/demo.py
Before: python -m bpt_det.shapes --output datasets/shapes
Result: not measured yet
"""

from .shapes import plan

plan.name = "demo"
plan.title = "Shapes in the budget of the demo"
plan.about = (
    "The training of `make demo` on a frozen micro ViT, pre-trained as a masked autoencoder, with "
    "20 bilinear prompts of rank 10 and without prompts, the rate as configured, evaluated on the "
    "demo's 150 validation images. Nothing was chosen for either. Overlapping: instances whose box "
    "has an IoU of at least 0.1 with another one's. Mean ± standard deviation over the seeds."
)
plan.grid = {}
plan.final_settings = {}
plan.report = {
    "box AP": "bbox/AP",
    "box AP50": "bbox/AP50",
    "mask AP": "segm/AP",
    "mask AP50": "segm/AP50",
    "mask AP, overlapping": "segm/AP_overlapping",
}
plan.methods = {name: plan.methods[name] for name in ("frozen", "bpt_s")}

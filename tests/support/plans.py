"""A plan of a comparison of two methods, as the text of its file."""

PLAN = """
plan = dict(
    name="birds", title="Birds", about="What this is.", tool="train_cls",
    settings={"data": "folder:/birds", "train.epochs": 2, "model.backbone.placement": [0, 2]},
    grid={"optimizer.lr": [0.1, 0.01]}, seeds=[3, 4],
    select="val/top1", report={"test top-1": "test/top1"},
    grid_settings={"dataloader.final_test": None},
    methods={
        "linear": dict(label="linear head", config="a.py", grid={"optimizer.lr": [0.5]}),
        "bpt": dict(label="BPT", config="b.py", settings={"train.epochs": 3}),
    },
    curves=["bpt"], before=["python prepare.py"],
)
"""

"""No prompts: the ViT stays as it was pre-trained, and only what is built on it is trained."""

method = dict(label="frozen", about="none", settings=dict(prompt=None), statistics=None)

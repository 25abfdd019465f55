"""Settings of the training loop; read by bpt_det.engine.train."""

train = dict(
    output_dir="output",
    init_checkpoint="",  # a trained model_*.pth to evaluate or to start from
    # File of token statistics that the initial prompts are made of, where they need one.
    prompt_statistics=None,
    max_iter=1000,
    eval_period=1000,  # iterations
    log_period=20,
    accumulate_steps=1,  # batches of total_batch_size whose mean gradient is one iteration's
    clip_grad_norm=None,  # largest L2 norm of the gradient of all that is trained; None: any
    # For instance 16: optimizer.lr is meant for so many images an iteration and is multiplied by
    # (total_batch_size * accumulate_steps) / 16. None: used as it is.
    reference_batch_size=None,
    best_metric="bbox/AP",  # model_best.pth has the best value
    best_metric_mode="max",  # max or min is best
    # Evaluations in a row without a new best after which the run ends; None: never early. The
    # weights to use are those of model_best.pth then.
    early_stopping=dict(patience=None),
    # An average of the trained weights, average = decay * average + (1 - decay) * weight at every
    # iteration, evaluated beside them as bbox_ema/AP and so on; for instance 0.999. None: none.
    ema=dict(decay=None),
    curves=["bbox/AP", "segm/AP"],  # drawn into curves.png beside the losses; None: not drawn
    hooks=[],  # further hooks of Detectron2's kind, run in every process
    checkpointer=dict(period=2500, max_to_keep=2),
    device="auto",  # auto, cuda or cpu
    precision="auto",  # auto, float32, bfloat16 or float16
    seed=0,
    cudnn_benchmark=False,
    ddp=dict(broadcast_buffers=False, find_unused_parameters=False, fp16_compression=False),
)

"""Settings of the training loop; read by bpt_det.engine.train."""

train = dict(
    output_dir="output",
    init_checkpoint="",  # a trained model_*.pth to evaluate or to start from
    max_iter=1000,
    eval_period=1000,  # iterations
    log_period=20,
    best_metric="bbox/AP",  # model_best.pth has the highest
    checkpointer=dict(period=2500, max_to_keep=2),
    device="auto",  # auto, cuda or cpu
    precision="auto",  # auto, float32, bfloat16 or float16
    seed=0,
    cudnn_benchmark=False,
    ddp=dict(broadcast_buffers=False, find_unused_parameters=False, fp16_compression=False),
)

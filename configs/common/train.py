"""Training settings, read by `bpt_det.engine.run`."""

train = dict(
    output_dir="output",  # folder of the run: checkpoints, metrics, log, result
    init_checkpoint="",  # a trained model_*.pth to evaluate or to start from
    # Of layers with a row for each class: match starts from the rows of classes that both know by
    # name, new from none; strict refuses a file of other classes.
    init_classes="match",
    init_prompts="keep",  # keep, new or frozen: what becomes of the prompts that are started from
    prompt_statistics=None,  # file of the token statistics that some prompts are initialized from
    max_iter=1000,  # iterations of the run
    epochs=None,  # the length in passes over the training images, in place of max_iter
    eval_period=1000,  # iterations between evaluations
    eval_epochs=None,  # the same in epochs, in place of eval_period; 1 where epochs are given
    log_period=20,  # iterations between lines of the log and records of the metrics
    accumulate_steps=1,  # gradient accumulation: batches of total_batch_size per iteration
    clip_grad_norm=None,  # largest L2 norm of the gradient of all parameters; None: no clipping
    # Linear scaling rule: optimizer.lr is multiplied by
    # total_batch_size * accumulate_steps / reference_batch_size. None: no scaling.
    reference_batch_size=None,
    best_metric="bbox/AP",  # whose best value decides about model_best.pth
    best_metric_mode="max",  # max or min: which value of it is the best
    final_weights="best",  # those that the final test reads; or last
    # Evaluations without improvement after which the run ends; None: no early stopping.
    early_stopping=dict(patience=None),
    # Exponential moving average of the trained weights, average = decay * average + (1 - decay) *
    # weight at every iteration, evaluated too, as bbox_ema/AP and so on; None: off.
    ema=dict(decay=None),
    curves=["bbox/AP", "segm/AP"],  # metrics in curves.png beside the losses; None: no picture
    prompt_rms=True,  # metrics.json gets the root mean square of each block's prompts too
    draw_batch=True,  # training_batch.png: the first batch as augmented
    report=True,  # report.html at the end
    trackers=["tensorboard"],  # that metrics and pictures go to; also wandb and mlflow
    hooks=[],  # further Detectron2 hooks, run in every process
    checkpointer=dict(
        period=2500,  # iterations between checkpoints
        max_to_keep=2,  # checkpoints; the best and the final one are kept beside them
    ),
    # Hours after which the run writes a checkpoint and ends with status 75; None: no limit.
    max_time=None,
    device="auto",  # auto, cuda or cpu
    precision="auto",  # auto, float32, bfloat16 or float16
    eval_precision="float32",  # the same for evaluations
    seed=0,  # of weights, data order and augmentation
    cudnn_benchmark=False,  # lets cuDNN time its kernels for each size of image
    peer_timeout=60,  # seconds of silence after which one of several processes counts as lost
    ddp=dict(  # of torch's DistributedDataParallel, on several GPUs
        broadcast_buffers=False,  # copies buffers to all processes at each iteration
        find_unused_parameters=False,  # for models that leave out some of what is trained
        fp16_compression=False,  # exchanges gradients as float16
    ),
)

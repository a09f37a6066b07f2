"""What other programs call our keys, where their own names would not be found by looks."""

from __future__ import annotations

OTHER_NAMES = {
    "lr": ("learning_rate", "learningrate", "base_lr", "max_lr", "peak_lr"),
    "lr_min_ratio": ("min_lr", "lr_min", "min_lr_ratio"),
    "lr_warmup_steps": ("warmup", "warmup_steps", "num_warmup_steps"),
    "weight_decay": ("wd", "decay", "l2"),
    "beta1": ("adam_beta1", "beta_1"),
    "beta2": ("adam_beta2", "beta_2"),
    "puzzle_emb_lr": ("embedding_lr", "emb_lr"),
    "global_batch_size": ("batch_size", "batch", "bs", "train_batch_size"),
    "micro_batch_size": ("microbatch_size", "per_device_batch_size", "gradient_accumulation_steps"),
    "epochs": ("num_epochs", "n_epochs", "max_epochs", "total_epochs", "num_train_epochs"),
    "eval_interval": ("eval_every", "eval_steps", "eval_freq"),
    "seed": ("random_seed", "random_state"),
    "max_seconds": ("time_limit", "timeout"),
    "data_path": ("data_dir", "dataset_path"),
    "checkpoint_path": ("output_dir", "save_dir", "run_dir"),
    "compile": ("torch_compile",),
    "arch.halt_max_steps": ("act_steps", "max_steps", "act_max_steps", "max_act_steps", "halt_steps", "ponder_steps"),
    "arch.halt_exploration_prob": ("exploration_prob", "exploration"),
    "arch.hidden_size": ("hidden_dim", "d_model", "n_embd", "embed_dim", "dim", "width", "model_dim"),
    "arch.num_heads": ("heads", "n_heads", "nhead", "n_head", "num_attention_heads"),
    "arch.forward_dtype": ("dtype", "precision"),
    "arch.loss.loss_type": ("loss", "loss_fn", "criterion"),
    "data.num_aug": ("augmentations", "num_augmentations", "n_aug"),
}

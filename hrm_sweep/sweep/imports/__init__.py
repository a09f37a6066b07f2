"""Search spaces of other tools, converted to ours: one file a tool, each with `convert(path, base)`.

Nothing is dropped in silence: what has no counterpart here is said, and what would search something else is refused.
"""

from hrm_sweep.sweep.imports.draft import Converted
from hrm_sweep.sweep.imports.hydra_sweeper import convert as from_hydra
from hrm_sweep.sweep.imports.wandb_sweep import convert as from_wandb

__all__ = ["Converted", "from_hydra", "from_wandb"]

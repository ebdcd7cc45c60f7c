"""The keys that say where metrics go besides metrics.jsonl. Megatron's settings contain them; the torchtitan worker
fills them from its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec


@dataclass(frozen=True, kw_only=True)
class MetricsSettings:
    """Services that get every report."""

    disable_tensorboard: bool | None = None
    """false writes TensorBoard files, true does not; None writes them when tensorboard_dir is set."""

    tensorboard_dir: str | None = None
    """Folder for a folder of TensorBoard files per run; None means tensorboard/ in the run directory."""

    disable_wandb: bool | None = None
    """false reports to Weights & Biases, true does not; None does when wandb_project is set."""

    wandb_project: str | None = None
    """Project in Weights & Biases; None means WANDB_PROJECT."""

    wandb_exp_name: str | None = None
    """Name of the run in Weights & Biases; None means exp_name."""

    wandb_entity: str | None = None
    """User or team in Weights & Biases; None means WANDB_ENTITY, or the user's own."""

    wandb_save_dir: str | None = None
    """Folder for the files of Weights & Biases; None means the run directory."""

    disable_mlflow: bool | None = None
    """false reports to MLflow, true does not; None does when mlflow_experiment_name or mlflow_run_name is set."""

    mlflow_experiment_name: str | None = None
    """Experiment in MLflow; None means exp_name."""

    mlflow_run_name: str | None = None
    """Name of the run in MLflow; None means the run's id."""

    @property
    def tensorboard(self) -> bool:
        return _on(self.disable_tensorboard, self.tensorboard_dir)

    @property
    def wandb(self) -> bool:
        return _on(self.disable_wandb, self.wandb_project)

    @property
    def mlflow(self) -> bool:
        return _on(self.disable_mlflow, self.mlflow_experiment_name, self.mlflow_run_name)

    def packages(self) -> tuple[str, ...]:
        """Import names that the workers need for what is switched on."""
        wanted = {"tensorboard": self.tensorboard, "wandb": self.wandb, "mlflow": self.mlflow}
        return tuple(name for name, on in wanted.items() if on)

    def not_installed(self) -> dict[str, str]:
        """Those that are not here, and what to say of each; imports none of them."""
        says = "reports to {0} need the package {0}, which is not installed here: pip install 'primus[{0}]'"
        return {name: says.format(name) for name in self.packages() if not _is_installed(name)}


def _on(disabled: bool | None, *names: str | None) -> bool:
    return any(names) if disabled is None else not disabled


def _is_installed(package: str) -> bool:
    spec = find_spec(package)
    return spec is not None and spec.origin is not None  # without an origin it is a folder of reports, called the same

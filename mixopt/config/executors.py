"""Where a study's work is done. Nothing here changes a result, so none of it is in any unit's key.

Addresses and URLs are not said in a recipe: whoever passes one on would decide whom your machine talks
to. Ray's address is in RAY_ADDRESS, storage in `--storage`.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, NonNegativeFloat, PositiveFloat, PositiveInt

from mixopt.config.base import ConfigModel


class CommonExecutorConfig(ConfigModel):
    """What all executors say."""

    retries: Annotated[int, Field(ge=0)] = 2
    """How often a piece of work that failed is tried again before it is set aside. What trying again
    cannot mend (wrong input, a loss that diverged, a full disk) is not tried again."""
    checkpoint_minutes: PositiveFloat = 10.0
    """A training that is stopped loses at most so many minutes."""


class LocalExecutorConfig(CommonExecutorConfig):
    """One after another, in the process that runs the study."""

    kind: Literal["local"] = "local"


class ProcessesExecutorConfig(CommonExecutorConfig):
    """One process for each GPU of this machine, or for each share of its cores."""

    kind: Literal["processes"] = "processes"
    workers: PositiveInt | None = None
    """Processes; as many as there are GPUs, or cores divided by `threads`, if left out."""
    threads: PositiveInt | None = None
    """Threads of each process; 1 where there is no GPU, if left out."""


class RayExecutorConfig(CommonExecutorConfig):
    """A Ray cluster (`pip install 'mixopt[ray]'`): the one that RAY_ADDRESS names, or this machine."""

    kind: Literal["ray"] = "ray"
    workers: PositiveInt | None = None
    """Workers; as many as the cluster has room for when the study begins, if left out."""
    gpus: NonNegativeFloat = 0.0
    """GPUs of each worker; 0 works on CPUs."""
    cpus: PositiveInt = 1
    """Cores of each worker, and its threads."""


class SlurmExecutorConfig(CommonExecutorConfig):
    """SLURM jobs through submitit (`pip install 'mixopt[slurm]'`)."""

    kind: Literal["slurm"] = "slurm"
    workers: PositiveInt = 16
    """Jobs in the queue at the same time."""
    cluster: Literal["slurm", "local"] = "slurm"
    """`local` runs the same jobs as processes of this machine, to try things out."""
    minutes: PositiveInt = 60
    """Time limit of a job; one that reaches it goes on in another."""
    gpus: Annotated[int, Field(ge=0)] = 0
    """GPUs of each job."""
    cpus: PositiveInt = 1
    """Cores of each job, and its threads."""
    memory_gb: PositiveInt | None = None
    """Memory of each job; the cluster's own rule if left out."""
    partition: str | None = None
    """Partition."""
    account: str | None = None
    """Account that is billed."""
    qos: str | None = None
    """Quality of service."""
    constraint: str | None = None
    """Features that nodes must have."""


def _named(given: Any) -> Any:
    """`ray` means `{kind: ray}`."""
    return {"kind": given} if isinstance(given, str) else given


ExecutorConfig = Annotated[
    Annotated[
        LocalExecutorConfig | ProcessesExecutorConfig | RayExecutorConfig | SlurmExecutorConfig,
        Field(discriminator="kind"),
    ],
    BeforeValidator(_named),
]

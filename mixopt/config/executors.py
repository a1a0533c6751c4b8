"""Where the jobs of a study run. No setting here changes a result, so artifact keys omit them all.

A YAML holds no address or URL: its author would decide which hosts the user's machine contacts. Ray's
address comes from RAY_ADDRESS, shared storage from `--storage`.
"""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, NonNegativeFloat, PositiveFloat, PositiveInt

from mixopt.config.base import ConfigModel

Workers = Annotated[int, Field(gt=0, le=10_000)]
"""A number of workers."""
SlurmName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.,@+-]*$", max_length=256)]
"""A name, or names with commas, of partitions, accounts or qualities of service."""
SlurmConstraint = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9_(\[][A-Za-z0-9_.,:&|*()\[\]!=+-]*$", max_length=256)
]
"""Features of nodes, with the operators that sbatch has."""


class CommonExecutorConfig(ConfigModel):
    """Fields of every executor."""

    retries: Annotated[int, Field(ge=0)] = 2
    """Times a failed job is retried before it is set aside. Errors that a retry cannot fix (wrong
    input, a diverged loss, a full disk) are not retried."""
    checkpoint_minutes: PositiveFloat = 10.0
    """Minutes between checkpoints of a training run; an interrupted run loses no more."""


class LocalExecutorConfig(CommonExecutorConfig):
    """Jobs run one after another in the process of the study."""

    kind: Literal["local"] = "local"


class ProcessesExecutorConfig(CommonExecutorConfig):
    """Worker processes on this machine, one per GPU or per group of cores."""

    kind: Literal["processes"] = "processes"
    workers: Workers | None = None
    """Number of processes; the number of GPUs, or of cores divided by `threads`, if left out."""
    threads: PositiveInt | None = None
    """Threads of each process; if left out, 1 on a machine without GPUs."""


class RayExecutorConfig(CommonExecutorConfig):
    """A Ray cluster (`pip install 'mixopt[ray]'`): the one at RAY_ADDRESS, or this machine."""

    kind: Literal["ray"] = "ray"
    workers: Workers | None = None
    """Number of workers; as many as fit on the cluster when the study starts, if left out."""
    gpus: NonNegativeFloat = 0.0
    """GPUs of each worker; 0 for CPU only. Fractions share a GPU."""
    cpus: PositiveInt = 1
    """Cores and threads of each worker."""


class SlurmExecutorConfig(CommonExecutorConfig):
    """SLURM jobs through submitit (`pip install 'mixopt[slurm]'`)."""

    kind: Literal["slurm"] = "slurm"
    workers: Workers = 16
    """Largest number of jobs in the queue."""
    cluster: Literal["slurm", "local"] = "slurm"
    """`slurm`, or `local` to try the same jobs as processes on this machine."""
    minutes: PositiveInt = 60
    """Time limit of a job, in minutes; work is continued in a new job."""
    gpus: Annotated[int, Field(ge=0)] = 0
    """GPUs of each job."""
    cpus: PositiveInt = 1
    """Cores and threads of each job."""
    memory_gb: PositiveInt | None = None
    """Memory of each job, in GB; the cluster's default if left out."""
    partition: SlurmName | None = None
    """SLURM partition; the cluster's default if left out."""
    account: SlurmName | None = None
    """SLURM account; the user's default if left out."""
    qos: SlurmName | None = None
    """SLURM quality of service; the default if left out."""
    constraint: SlurmConstraint | None = None
    """Features that nodes must have, as `sbatch --constraint` takes them."""


ExecutorConfig = Annotated[
    Annotated[
        LocalExecutorConfig | ProcessesExecutorConfig | RayExecutorConfig | SlurmExecutorConfig,
        Field(discriminator="kind"),
    ],
    BeforeValidator(lambda given: {"kind": given} if isinstance(given, str) else given),
]

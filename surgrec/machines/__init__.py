"""Many machines: a Ray cluster, and the folders that its machines share.

Builds, extractions of features and benchmarks connect to a cluster here. Only this room imports
Ray, and only when a cluster is opened.

Example:
    >>> with RayCluster("10.0.0.1:6379") as cluster:
    ...     future = cluster.submit(hash_file, path, name="hash", resources=Resources())
    ...     digest = future.result()
"""

from surgrec.machines._engine_name import EngineName, require_engine_of_address
from surgrec.machines._machine_check import MachineCheck, result_versions
from surgrec.machines._offers import offered_cores, offered_gpus, usable_cores
from surgrec.machines._ray_cluster import RayCluster, Resources, SharedValue
from surgrec.machines._shared_folder import SharedFolder, shared_folder

__all__ = [
    "EngineName",
    "MachineCheck",
    "RayCluster",
    "Resources",
    "SharedFolder",
    "SharedValue",
    "offered_cores",
    "offered_gpus",
    "require_engine_of_address",
    "result_versions",
    "shared_folder",
    "usable_cores",
]

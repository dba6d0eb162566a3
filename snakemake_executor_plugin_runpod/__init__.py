"""A Snakemake executor for RunPod: one pod per job, over the REST API v2, with a network volume as
the shared file system.

Snakemake finds the plugin by this module's name and takes these three names from it. README.md says
how to use it.
"""

from snakemake_executor_plugin_runpod.executor import Executor
from snakemake_executor_plugin_runpod.settings import ExecutorSettings, common_settings

__version__ = "0.1.0"

__all__ = ["Executor", "ExecutorSettings", "common_settings"]

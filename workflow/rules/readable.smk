# What comes before all else: the configuration as a file, since Snakemake says neither the line nor the file where it is no YAML;
# and the python of the jobs. Included before the configuration is read.
#
# in:   config/config.yaml, and what --configfile lays over it
# out:  no files
import os
import shutil
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

from gram.settings.documents import read_yaml
from gram.system.errors import GramError

try:
    for path in [Path("config/config.yaml"), *workflow.config_settings.configfiles]:
        # One that is missing, Snakemake itself tells; one from a pipe can be read only once.
        if path.is_file() and path.suffix != ".json":
            read_yaml(path)
except GramError as error:
    raise WorkflowError(f"{error}") from None


def use_this_python():
    """Let the jobs find this process's own python first: `.venv/bin/snakemake` works without activating the environment.

    By PATH rather than by its full name in each command, since on other machines, and with conda, another one is meant.
    """
    here, path = os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)
    if workflow.deployment_settings.deployment_method or shutil.which("python", path=path) == (
        own := os.path.join(here, "python")
    ):
        return
    if not os.access(own, os.X_OK):
        raise WorkflowError(
            f"{own}: no such program, and the jobs start `python`: make a virtual environment, as README.md says"
        )
    os.environ.update(PATH=os.pathsep.join([here, path]))


use_this_python()

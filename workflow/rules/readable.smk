# What comes before all else: how a mistake is told; the configuration as a file, since Snakemake says neither the line nor the
# file where it is no YAML; and the python of the jobs. Included before the configuration is read.
#
# in:   config/config.yaml, and what --configfile lays over it
# out:  no files
import os
import shutil
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

from gram.settings.documents import read_yaml
from gram.system.errors import GramError, in_one_line

# Whether this is the command, or a job of it, and not a program that uses Snakemake as a library.
COMMAND = "snakemake" in Path(sys.argv[0]).parts[-2:]


def refuse(message):
    """End the command in one line that says what to fix. Of an exception Snakemake also prints which lines of code it passed.

    Raises:
        SystemExit: Snakemake lets it through.
        WorkflowError: in the place of that in a program that uses Snakemake as a library, since it expects this one.
    """
    line = in_one_line(message)
    if COMMAND:
        sys.exit(f"error: {line}")
    raise WorkflowError(line) from None


def check_readable(path):
    """Stop at a file of the configuration that is none."""
    try:
        if not isinstance(read_yaml(path), dict):
            refuse(f"{path}: no mapping: holds no `key: value` at its top")
    except GramError as error:
        refuse(str(error))


for path in workflow.config_settings.configfiles:
    # One from a pipe can be read only once, and Snakemake has done so.
    if path.is_file() and path.suffix != ".json":
        check_readable(path)
default = Path("config/config.yaml")
if default.exists():
    check_readable(default)
elif not workflow.overwrite_configfiles:
    refuse(f"{default}: no such file; restore it with git, or name one with --configfile")


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
        refuse(
            f"{own}: no such program, and the jobs start `python`: make a virtual environment, as README.md says"
        )
    os.environ.update(PATH=os.pathsep.join([here, path]))


use_this_python()

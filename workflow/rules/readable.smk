# The configuration as a file: where it is no YAML, Snakemake would say neither the line nor the file. Included before it is read.
#
# in:   config/config.yaml, and what --configfile lays over it
# out:  no files
from pathlib import Path

from snakemake.exceptions import WorkflowError

from gram.documents import read_yaml
from gram.errors import GramError

try:
    for path in [Path("config/config.yaml"), *workflow.config_settings.configfiles]:
        # One that is missing, Snakemake itself tells; one from a pipe can be read only once.
        if path.is_file() and path.suffix != ".json":
            read_yaml(path)
except GramError as error:
    raise WorkflowError(f"{error}") from None

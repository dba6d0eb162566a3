# The configuration as a file: where it is no YAML, Snakemake would say neither the line nor the file. Included before it is read.
#
# in:   config/config.yaml
# out:  no files
from pathlib import Path

import yaml
from snakemake.exceptions import WorkflowError

try:
    yaml.safe_load(Path("config/config.yaml").read_text(encoding="utf-8"))
except (yaml.YAMLError, UnicodeDecodeError) as error:
    raise WorkflowError(f"config/config.yaml: not a YAML file: {' '.join(str(error).split())}")
except FileNotFoundError:
    pass  # which Snakemake itself says

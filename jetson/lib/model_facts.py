"""Say what a model file needs, one ``name=value`` a line; runs in the installed environment."""

import sys

from differseg.errors import DifferSegError
from differseg.runtime.model_file import read_manifest

try:
    manifest = read_manifest(sys.argv[1])
except DifferSegError as error:
    sys.exit(f"error[{error.code}]: {error}")
print(f"model={manifest.model}")
print(f"form={manifest.operator_form}")
print(f"precision={manifest.precision}")
print(f"inputs={' '.join(each.modality for each in manifest.inputs)}")

"""What `mitmdump -s addon/tgstore.py` loads: bootstrap only.

mitmproxy loads this file outside any package and puts its folder first on `sys.path`; left there, `import sigv4` would find a
second copy of `addon.sigv4`. So the folder goes, and the project's root comes in its place.
"""

import sys
from pathlib import Path

_FOLDER = Path(__file__).resolve().parent
sys.path[:] = [
    str(_FOLDER.parent),
    *(entry for entry in sys.path if Path(entry or ".").resolve() not in (_FOLDER, _FOLDER.parent)),
]

from addon.composition import compose, read_status  # noqa: E402 -- the path has to be right first
from addon.proxy.hooks import Tgstore  # noqa: E402 -- as above

addons = [Tgstore(compose, read_status)]

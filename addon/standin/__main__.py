"""`python -m addon.standin`."""

import sys

from addon.standin.command import main

sys.exit(main())

"""`python -m elastic_faces`."""

import sys

from elastic_faces import main

sys.exit(main())

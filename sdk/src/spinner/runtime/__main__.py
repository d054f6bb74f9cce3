"""``python -m spinner.runtime``: one try over gRPC, as a pod or remote worker."""

import sys

from spinner.runtime.remote import main

if __name__ == "__main__":
    sys.exit(main())

"""Entry point: `python main.py --help`."""

import sys

if __name__ == "__main__":
    try:
        from app.cli import main

        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)

"""`python -m studies` is the command `studies`."""

import sys

from studies.processes import FOLDER, find_modules_in

if __name__ == "__main__":
    if not sys.flags.safe_path:
        # `python -m` has put the working directory first, where a file such as `json.py` would replace Python's own.
        find_modules_in({"studies": FOLDER, "mlp": FOLDER})
        del sys.path[0]
    from studies.commands.app import main

    main()

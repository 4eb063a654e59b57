"""Runs the command line as ``python -m dap_pipeline.cli``."""

from dap_pipeline.cli.main import main

if __name__ == "__main__":
    main()

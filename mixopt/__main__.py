"""`python -m mixopt`, which the entry points of MLproject call."""

from mixopt.cli.start import main

if __name__ == "__main__":
    main()

"""`python -m mixopt.cli`: what MLflow's entry points call."""

from mixopt.cli.shell import main

if __name__ == "__main__":
    main()

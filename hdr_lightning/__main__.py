"""`python -m hdr_lightning`, and the console script `hdr-lightning`."""

from hdr_lightning.cli import main


def console() -> None:
    """Run a command; what it returns is for callers in Python, not for the shell."""
    main()


if __name__ == "__main__":
    console()

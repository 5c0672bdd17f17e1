"""`python -m lucule` is the command `lucule`."""

from lucule.cli import main

if __name__ == "__main__":
    main()

"""Version of the package: the build, the docs and the import all read it here."""

__version__ = "0.1.0"

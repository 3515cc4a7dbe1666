"""The commands of ``clip-depth``; each module has ``add_arguments(parser)`` and ``run(arguments) -> exit code``."""

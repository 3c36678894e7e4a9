"""Networks: float modules that train, and the integer programs that code.

Nothing here knows of files, containers or coders.
"""

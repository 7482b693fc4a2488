"""From CircleCI's document and our tables to the text of ``aiocircle/api/``.

``document`` reads what CircleCI says, ``tables`` what we say, ``shapes`` folds objects into classes, ``methods`` turns
operations into signatures, and ``render`` writes Python.
"""

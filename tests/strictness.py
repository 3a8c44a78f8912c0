"""How the test run checks shapes and types at every call: as a type checker would, an int passes for a float."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))

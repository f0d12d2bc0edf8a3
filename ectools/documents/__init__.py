"""Files that people write, in JSON, YAML or TOML, with the place of everything that stands in them.

``load`` a file by its format: ``json_source``, ``yaml_source``, ``toml_source`` with ``toml_spans``; each
gives a ``source_map`` · ``problem`` what is wrong, and where · ``located`` problems of options that are found
later.
"""

"""HTML pages of the options: static, readable without JavaScript, searchable with it."""

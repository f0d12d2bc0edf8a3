"""The page of the fleet: its nodes, their boots as strips, live, and whole without JavaScript.

``facts`` what the page is told · ``text`` what nodes say, and times, as text · ``filters`` which rows are
shown · ``rows`` the list of nodes · ``notices`` what is above it · ``rollouts`` what leads them on ·
``strips`` a boot as a strip of its stages · ``render`` views → HTML · ``source`` from the boot server to
facts · ``routes`` what is answered.
"""

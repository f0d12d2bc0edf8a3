"""The fleet: machines known by name, their groups, and what each of them boots.

``model`` what a fleet is · ``build`` options → a fleet, or all that is wrong with it · ``load`` the fleet
file · ``machine`` what a machine says of itself · ``roster`` which node a machine is · ``assignment`` what a
node boots, and why · ``difference`` which nodes boot something else afterwards · ``warnings`` what comes to
nothing · ``override`` what is said of a node for a while · ``install`` what is installed on it, and was ·
``added`` nodes beside the file · ``kept`` what the store has of both · ``live`` the fleet in force, as it is
changed.
"""

"""What can be seen and done of a fleet over HTTP: JSON for programs, and where the page is mounted.

``view`` what the boot server gives it · ``releases`` what is staged, by id and tag · ``unstaged`` what should
be, and is not · ``lacks`` what a release has not for a node · ``rows`` nodes and boots as JSON,
``event_rows`` each made once for all who listen · ``latecomers`` who a rollout does not tell of ·
``unnamed`` machines that are no node · ``rights`` who asks, and what they may do · ``guesses`` of
tokens, and how many · ``bodies`` what they send · ``reading``, ``changing``, ``rollouts`` what is answered ·
``hosts`` by which names · ``answers`` how, errors too · ``events`` changes as they happen · ``app`` the
application · ``connections`` bounds of a client · ``listeners`` where it is answered · ``client`` of the
control socket, for the commands · ``page`` what people look at · ``verification`` how well it is known what
nodes run.
"""

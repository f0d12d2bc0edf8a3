"""dnsmasq does TFTP and ProxyDHCP.

``model`` what is served to whom, from the settings and the binaries that are there · ``render`` the model
as dnsmasq's configuration · ``check`` the model against the TFTP directory and against dnsmasq itself ·
``plan`` all that it is started with · ``hosts`` the machines that get another boot binary · ``process`` the
running program · ``liveness`` whether it answers · ``events`` its log, read · ``counts`` of clients in it ·
``reports`` of it to another process · ``transfer_limit`` what one address may take · ``tftp_load`` transfers
under way, and requests that got no answer.
"""

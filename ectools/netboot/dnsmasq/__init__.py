"""dnsmasq does TFTP and ProxyDHCP.

``model`` what is served to whom, from the settings and the binaries that are there · ``render`` the model as
dnsmasq's configuration · ``check`` the model against the TFTP folder and against dnsmasq itself · ``events``
its log, read · ``process`` the running program.
"""

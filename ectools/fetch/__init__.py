"""HTTP as a client, for what is downloaded, and published.

``client`` GET, with redirects that keep a token at home · ``sending`` requests that change something ·
``read_ahead`` a stream that is read while it is used · ``sigv4`` signed requests, as S3 wants them ·
``retry`` how often, and after which pauses · ``trust`` whose certificates count · ``env_proxy`` the
environment's proxies · ``response_lines`` a bound on what an answer may have around its content ·
``web_page`` pages in a file's place · ``hashing`` what is there already, read to be compared ·
``rejection`` of a request, described for who knows the server, by its own ``error_reason``.
"""

"""Does a server keep the Open Inference Protocol v2, and what this product promises beyond it?

`python -m cgan_runtime.conformance http://HOST:PORT` asks a running server and prints one line per check. It needs
nothing but the address, changes nothing on the server, and works with any server of the protocol.
"""

"""gRPC over HTTP/2 in pure Python: a link (socket, TLS), a connection (HTTP/2), a channel (calls, reconnecting).

Written after the published protocols: gRPC over HTTP/2 (framing, trailers, time-outs, percent-encoded messages,
``grpc-status-details-bin``), and RFC 9113 through the package h2.
"""

"""The rules of every TLS listener: versions, ciphers, resumption and client certificates.

Mozilla's "intermediate" guidelines (wiki.mozilla.org/Security/Server_Side_TLS), without the suites
that are slow on both sides (DHE): TLS 1.2 and 1.3, forward secrecy, authenticated encryption.

Sessions are resumed by tickets. Their key belongs to a context and never leaves the process, so
another process or a later context makes a full handshake. A context is not changed after its first
use; a new one takes its place (`push.daemons.security.serving`).
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from OpenSSL import SSL, crypto

TLS_1_3_CIPHERS = (
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
)
# Of TLS 1.2.
CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
)
TICKET_KEY_SECONDS = 12 * 3600
# Who names ChaCha20 first gets it: it has no instructions for AES. pyOpenSSL has no name for it.
OP_PRIORITIZE_CHACHA = 1 << 21


def make_context(
    chain: Sequence[x509.Certificate],
    key: PrivateKeyTypes,
    client_authorities: Sequence[x509.Certificate] = (),
) -> SSL.Context:
    """A context with a ticket key of its own. `chain`: the server's certificate first.

    With `client_authorities` a client must show a certificate that one of them has signed. Raises
    `SSL.Error`, TypeError or ValueError for what OpenSSL refuses.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    # Most clients name AES-256 first, which takes longer to shake hands and to seal with.
    context.set_options(SSL.OP_CIPHER_SERVER_PREFERENCE | OP_PRIORITIZE_CHACHA)
    # Else an idle connection holds buffers: 47 KiB instead of 25.
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    leaf, *others = chain
    context.use_certificate(leaf)
    context.use_privatekey(key)  # type: ignore[arg-type]  # of another kind: TypeError
    for other in others:
        context.add_extra_chain_cert(other)
    context.check_privatekey()
    # Tickets are kept by clients; nothing is kept here.
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_timeout(TICKET_KEY_SECONDS)
    # Without a name OpenSSL resumes no session whose client has shown a certificate.
    context.set_session_id(secrets.token_bytes(16))
    if client_authorities:
        store = context.get_cert_store()
        assert store is not None
        # A CA of the file is enough, also where it is not a root itself.
        store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
        for authority in client_authorities:
            store.add_cert(crypto.X509.from_cryptography(authority))
            context.add_client_ca(authority)
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
    context.set_tls13_ciphersuites(":".join(TLS_1_3_CIPHERS).encode())
    context.set_cipher_list(":".join(CIPHERS).encode())
    return context

//! The key exchange of nova and its guest agents: a 107-bit Diffie-Hellman group.

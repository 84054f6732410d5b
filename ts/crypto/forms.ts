/** What `features` tells of the strong key exchange, beside the commands. */
export const SEALED_FEATURE = 'keyinit_x25519_v1';

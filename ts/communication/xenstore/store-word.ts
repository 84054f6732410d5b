/**
 * The store's own name for why it refused, such as ENOSPC, or EQUOTA of oxenstored; of other errors the addon's code.
 * The same for every node, as the error's message is not.
 */
export function storeWord(error: unknown): string {
  const { code, message } = error as { readonly code?: unknown; readonly message?: unknown };
  const [, word] = code === 'XS_REFUSED' ? (/: ([A-Z0-9]+)$/.exec(String(message)) ?? []) : [];
  return word ?? (typeof code === 'string' ? code : 'unknown');
}

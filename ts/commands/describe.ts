/** What came in the place of something else, for a message. Never the value itself: it may be a secret. */
export function describe(value: unknown): string {
  if (value === null || value === undefined) return 'nothing';
  return Array.isArray(value) ? 'a list' : typeof value;
}

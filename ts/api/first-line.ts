/** The first line with something in it of what a program printed, or null: usually the reason why it failed. */
export function firstLine(text: string): string | null {
  return /\S.*/.exec(text)?.[0].trimEnd() ?? null;
}

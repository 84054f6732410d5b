/** Longer ones leave no room for what else is to be said, characters. */
const LIMIT = 200;

/** The first line with something in it of what a program printed, or null: usually the reason why it failed. */
export function firstLine(text: string): string | null {
  const line = /\S.*/.exec(text)?.[0].trimEnd();
  if (line === undefined) return null;
  return line.length > LIMIT ? `${line.slice(0, LIMIT - 3)}...` : line;
}

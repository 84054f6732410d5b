/** A page of documentation as the steps that it tells: shell blocks, files, and what the shell is said to print. */
export type Step =
  | { readonly type: 'shell'; readonly text: string; readonly prints: string | null }
  | { readonly type: 'file'; readonly path: string; readonly text: string };

/**
 * "```sh" is to be typed, "```<language> PATH" is the file PATH, and "```text" is among what the shell block before it
 * prints. Other blocks are for reading.
 */
export function readSteps(page: string): readonly Step[] {
  const steps: Step[] = [];
  for (const [, language, path, text = ''] of page.matchAll(/^```(\w+)(?: (\S+))?\n(.*?)^```$/gms)) {
    if (path !== undefined) steps.push({ type: 'file', path, text });
    else if (language === 'sh') steps.push({ type: 'shell', text, prints: null });
    else if (language === 'text') {
      const before = steps.pop();
      if (before?.type !== 'shell') throw new Error(`output without a shell block before it:\n${text}`);
      steps.push({ ...before, prints: text });
    }
  }
  return steps;
}

/** The steps as one script for bash, which writes what its N-th step prints to `N` in `outputs`. */
export function asScript(steps: readonly Step[], outputs: string): string {
  const parts = steps.map((step, index) =>
    step.type === 'shell'
      ? `{\n${step.text}} > ${outputs}/${index} 2>&1`
      : `cat > ${step.path} <<'END OF FILE'\n${step.text}END OF FILE`,
  );
  return `set -eu -o pipefail\n${parts.join('\n')}\n`;
}

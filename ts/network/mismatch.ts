/** What is there, or would be after a boot, is not what was wanted: the first difference, as two phrases for the answer. */
export interface Mismatch {
  readonly wanted: string;
  readonly got: string;
}

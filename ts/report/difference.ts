import type { Report, ReportedMemory } from '../api/report.js';

/** Bytes. */
const MEMORY_STEP = 16 * 1024 * 1024;
/** Of all memory. */
const MEMORY_SHARE = 0.02;

/** Whether what is told now is news to whoever was told `before`. */
export function differs(before: Report, now: Report): boolean {
  const memory = isSteady(before.memory, now.memory) ? before.memory : now.memory;
  return JSON.stringify(before) !== JSON.stringify({ ...now, memory });
}

/** What is available changes all the time: too little for anybody to want to know. */
function isSteady(before: ReportedMemory | null, now: ReportedMemory | null): boolean {
  if (before === null || now === null) return false;
  if (before.total !== now.total || before.available === null || now.available === null) return false;
  const moved = Math.abs(before.available - now.available);
  return moved < Math.max(MEMORY_STEP, before.total * MEMORY_SHARE);
}

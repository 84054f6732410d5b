import type { ReportedMemory } from '../../api/report.js';

export const MEMINFO = '/proc/meminfo';

/** Of {@link MEMINFO}, whose figures are KiB (proc_meminfo(5)); null where there is none. */
export function readMemory(meminfo: string | null): ReportedMemory | null {
  const total = figure('MemTotal', meminfo);
  return total === null ? null : { total, available: figure('MemAvailable', meminfo) };
}

/** Bytes. */
function figure(name: string, meminfo: string | null): number | null {
  const [, kib] = new RegExp(String.raw`^${name}:\s*(\d+) kB$`, 'm').exec(meminfo ?? '') ?? [];
  return kib === undefined ? null : Number(kib) * 1024;
}

/** What somebody else's code promised and did not keep in time. */
export const OVERDUE = Symbol('overdue');

/** `work`, or OVERDUE when it takes longer than `milliseconds`; what comes of it then is nobody's business any more. */
export async function within<T>(work: Promise<T>, milliseconds: number): Promise<T | typeof OVERDUE> {
  let timer: NodeJS.Timeout | undefined;
  const overdue = new Promise<typeof OVERDUE>((resolve) => {
    timer = setTimeout(() => {
      resolve(OVERDUE);
    }, milliseconds);
  });
  work.catch(() => undefined);
  try {
    return await Promise.race([work, overdue]);
  } finally {
    clearTimeout(timer);
  }
}

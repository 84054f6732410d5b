// TAP, with every failure told once more just before the closing lines: whoever keeps no more than the end of a run's
// output sees what failed.
import { tap } from 'node:test/reporters';

/** A test whose subtest failed says nothing of its own. */
const SUBTESTS = 'subtestsFailed';
/** Characters of a failure's message that are repeated; the whole of it stands where the test is. */
const LONGEST = 1500;

const remark = (message) => ({ type: 'test:diagnostic', data: { nesting: 0, message } });

function described({ name, file, line, details }) {
  const error = details.error?.cause ?? details.error;
  const message = String(error?.stack ?? error?.message ?? error).slice(0, LONGEST);
  return [`failed: ${name} (${file ?? '?'}:${line ?? '?'})`, ...message.split('\n').map((text) => `  ${text}`)];
}

async function* withFailures(events) {
  const failures = [];
  for await (const event of events) {
    if (event.type === 'test:fail' && event.data.details.error?.failureType !== SUBTESTS) failures.push(event.data);
    if (event.type === 'test:diagnostic' && event.data.nesting === 0 && /^tests \d+$/.test(event.data.message)) {
      yield* failures.flatMap(described).map(remark);
    }
    yield event;
  }
}

export default (events) => tap(withFailures(events));

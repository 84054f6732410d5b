/** The script worker that `guestwire new` begins, and its test: POSIX sh, which every guest has. */
import type { NewFileText } from '../host/shared/new-files.js';

export function scriptFiles(name: string): Readonly<Record<string, NewFileText>> {
  return {
    [name]: { text: SCRIPT.replaceAll('NAME', name), mode: 0o755 },
    'test.sh': { text: TEST.replaceAll('NAME', name), mode: 0o755 },
  };
}

const SCRIPT = `#!/bin/sh
# The command NAME. The request is one line of JSON on standard input, such as {"name":"NAME","value":"x"}. The answer is
# the return code in the first line of the output (0 is success) and the message behind it.
set -eu
read -r request
echo 0
echo "NAME got a request of \${#request} characters"
`;

const TEST = `#!/bin/sh
# Runs NAME as the agent does, and looks at the answer.
set -eu
cd "$(dirname "$0")"
request='{"name":"NAME","value":"x"}'
answer=$(printf '%s\\n' "$request" | env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C ./NAME)
wanted="0
NAME got a request of \${#request} characters"
if [ "$answer" != "$wanted" ]; then
  printf 'NAME: wanted\\n%s\\ngot\\n%s\\n' "$wanted" "$answer" >&2
  exit 1
fi
echo 'NAME: passed'
`;

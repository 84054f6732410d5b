import { createHash } from 'node:crypto';
import { killedAtEveryStep } from '../support/every-step.js';

const FILE = { b64_path: btoa('/etc/motd'), b64_file: btoa('the new content\n') };

killedAtEveryStep({ command: 'file_inject', file: 'etc/motd', value: () => FILE });
killedAtEveryStep({
  command: 'file_inject',
  form: ' in parts',
  message: '16 of 16 bytes',
  file: 'etc/motd',
  value: () => ({
    ...FILE,
    offset: 0,
    total: 16,
    sha256: createHash('sha256').update('the new content\n').digest('hex'),
  }),
});

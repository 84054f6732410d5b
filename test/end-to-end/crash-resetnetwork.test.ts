import { killedAtEveryStep } from '../support/every-step.js';

killedAtEveryStep({
  command: 'resetnetwork',
  file: 'etc/network/interfaces',
  value: () => '',
  // It reads some three hundred files, and each answer of a worker's thread is a write that wakes the loop.
  strides: { openat: 40, write: 5 },
});

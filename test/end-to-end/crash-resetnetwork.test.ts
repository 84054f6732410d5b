import { killedAtEveryStep } from '../support/every-step.js';

killedAtEveryStep({ command: 'resetnetwork', file: 'etc/network/interfaces', value: () => '' });

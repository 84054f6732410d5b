import { killedAtEveryStep } from '../support/every-step.js';

killedAtEveryStep({
  command: 'password',
  file: 'etc/shadow',
  value: (dom0) => dom0.encryptedPassword('the new one', 'md5'),
});

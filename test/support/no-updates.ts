import type { Updates } from '../../ts/agent/updates.js';

const unused = (): never => {
  throw new Error('there are no versions of the agent here');
};

/** For what has nothing to do with updates of the agent. */
export const NO_UPDATES: Updates = {
  installed: unused,
  fetch: unused,
  download: unused,
  unpack: unused,
  try: unused,
  install: unused,
  link: unused,
  prune: unused,
  clean: unused,
  restart: unused,
};

import type { Updates } from '../../ts/api/index.js';

const unused = (): never => {
  throw new Error('not to be used here');
};

/** For what has nothing to do with updates. */
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

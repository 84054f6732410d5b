import { AGENT_VERSION } from '../commands/version.js';
import { buildCommit } from '../host/shared/build-commit.js';

/** One line: the version, the commit of the addon, the runtime. */
export function versionText(): string {
  return `guestwire ${AGENT_VERSION} (${buildCommit()}, node ${process.versions.node})\n`;
}

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { AgentError, type FileChange } from '../../ts/api/index.js';
import { createFiles, recoverFiles } from '../../ts/host/unix/files.js';

/**
 * A process of its own for file systems that only a mount namespace has: commits the changes given as JSON, prints as
 * JSON what came of it and what the root then holds.
 */
const [root = '', state = '', changes = '', settle = ''] = process.argv.slice(2);

let outcome: unknown;
try {
  const commit = await createFiles(root, state).commit(JSON.parse(changes) as FileChange[]);
  outcome = { changed: commit.changed };
  if (settle === 'confirm') await commit.confirm();
  if (settle === 'rollback') await commit.rollback();
  if (settle === 'crash half written') {
    for (const path of commit.changed) writeFileSync(join(root, path), 'ha');
    await recoverFiles(root, state);
  }
} catch (error) {
  if (!(error instanceof AgentError)) throw error;
  outcome = { code: error.code, message: error.message };
}
const names = readdirSync(root, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
const files = names.map((entry) => join(entry.parentPath, entry.name)).sort();
const held = files.map((path) => [path.slice(root.length), readFileSync(path, 'utf8').slice(0, 100)]);
console.log(JSON.stringify({ outcome, files: Object.fromEntries(held) as unknown }));

// A socket for sd_notify. Node has no unix datagrams, so a few lines of Python listen.
import { spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { createInterface } from 'node:readline';

const LISTENER = `
import socket, sys, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print("bound", flush=True)
while not s.recv(4096).startswith(b"READY=1"):
    pass
print(time.monotonic_ns(), flush=True)
while True:
    s.recv(4096)
`;

/** `ready` resolves to when READY=1 came, in nanoseconds of the clock of process.hrtime. */
export async function createSocket(path) {
  rmSync(path, { force: true });
  const child = spawn('python3', ['-c', LISTENER, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  await lines.next();
  const ready = lines.next().then(({ value: time }) => BigInt(time));
  return { path, ready, close: () => child.kill() };
}

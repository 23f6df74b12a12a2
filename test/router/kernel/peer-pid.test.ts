import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { peerPid } from '../../../router/kernel/peer-pid.ts';

test('the process at the other end of a connection is the one that made it', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'mlshim-test-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'socket');
  const server = createServer();
  server.listen(path);
  await once(server, 'listening');
  t.teardown(() => server.close());
  const script = `require('node:net').connect(${JSON.stringify(path)}).resume()`;
  const child = spawn(process.execPath, ['-e', script], { stdio: 'ignore' });
  const [socket] = (await once(server, 'connection')) as [Socket];
  t.is(peerPid(socket), child.pid);
  socket.destroy();
  t.is(peerPid(socket), undefined);
  child.kill();
});

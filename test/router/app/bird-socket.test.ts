import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { BirdPart, BirdPosition } from '../../../router/app/bird-answers.ts';
import { type BirdBackend, BirdSocket } from '../../../router/app/bird-socket.ts';
import type { BirdCommand } from '../../../router/birdctl/command.ts';

const BEGIN: BirdPosition = { last: 0, table: 0, cursor: undefined, isHeaded: false, hasOutput: false, shown: [0] };

async function serve(t: ExecutionContext, answer: (c: BirdCommand, from: BirdPosition | undefined) => BirdPart) {
  const dir = mkdtempSync(join(tmpdir(), 'mlshim-bird-'));
  const path = join(dir, 'bird.ctl');
  const backend: BirdBackend = {
    answer: async (c, from) => answer(c, from),
    configure: async () => [[[2, 'Reading configuration from x.yaml']], [3, 'Reconfigured']],
  };
  const socket = new BirdSocket(backend);
  await socket.listen(path);
  t.teardown(() => {
    socket.close();
    rmSync(dir, { recursive: true, force: true });
  });
  return path;
}

/** Everything that came until the text matches. */
function until(client: Socket, pattern: RegExp): Promise<string> {
  let text = '';
  return new Promise((resolve, reject) => {
    const onData = (octets: Buffer): void => {
      text += octets.toString();
      if (!pattern.test(text)) return;
      client.off('data', onData);
      resolve(text);
    };
    client.on('data', onData);
    client.once('close', () => reject(new Error(`closed after: ${text}`)));
  });
}

const DONE: BirdPart = { text: '0000 \n', next: undefined };

test('only the owner and the group may open it, and a second daemon is refused', async (t) => {
  const path = await serve(t, () => DONE);
  t.is(statSync(path).mode & 0o777, 0o660);
  const second = new BirdSocket({ answer: async () => DONE, configure: async () => [[], [3, '']] });
  await t.throwsAsync(second.listen(path), { message: /another daemon serves/ });
});

test('where nobody can listen the reason is told, and nothing is touched', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'mlshim-bird-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  writeFileSync(join(dir, 'file'), 'precious');
  const cases: readonly [string, RegExp][] = [
    ['file', /: something else is there$/],
    ['file/bird.ctl', /: a part of the path is no folder$/],
    ['nowhere/bird.ctl', /: its folder does not exist$/],
    ['x'.repeat(120), /: it is longer than 107 octets$/],
  ];
  for (const [name, message] of cases) {
    const socket = new BirdSocket({ answer: async () => DONE, configure: async () => [[], [3, '']] });
    await t.throwsAsync(socket.listen(join(dir, name)), { message, code: 'USAGE' });
  }
  t.deepEqual(readdirSync(dir), ['file']);
  t.is(readFileSync(join(dir, 'file'), 'utf8'), 'precious');
});

test('after restrict a session only reads', async (t) => {
  const asked: string[] = [];
  const path = await serve(t, (c) => {
    asked.push(c.kind);
    return DONE;
  });
  const client = createConnection(path);
  t.teardown(() => client.destroy());
  client.write('disable b\nrestrict\ndisable b\nconfigure\nshow protocols\n');
  const text = await until(client, /0000 \n[\s\S]*0000 \n/);
  t.is(text, '0001 BIRD 2.0.12 ready.\n0000 \n0016 Access restricted\n8007 Access denied\n8007 Access denied\n0000 \n');
  t.deepEqual(asked, ['disable', 'protocols']);
});

test('configure tells what was read', async (t) => {
  const client = createConnection(await serve(t, () => DONE));
  t.teardown(() => client.destroy());
  client.write('configure\n');
  t.true((await until(client, /0003 /)).endsWith('0002-Reading configuration from x.yaml\n0003 Reconfigured\n'));
});

test('the next part of a reply is asked for only when the client has taken the one before', async (t) => {
  let parts = 0;
  const part = 'x'.repeat(1 << 20);
  const path = await serve(t, () => ({ text: `${part}\n`, next: ++parts < 64 ? BEGIN : undefined }));
  const client = createConnection(path);
  t.teardown(() => client.destroy());
  await until(client, /ready/);
  client.pause();
  client.write('show route\n');
  // Another client is served while this one does not read.
  const other = createConnection(path);
  t.teardown(() => other.destroy());
  other.write('restrict\n');
  await until(other, /0016/);
  t.true(parts <= 2, `${parts} parts waited in memory`);
  let received = 0;
  client.on('data', (octets) => {
    received += octets.length;
  });
  await new Promise<void>((resolve) => {
    client.on('data', () => received === 64 * (part.length + 1) && resolve());
    client.resume();
  });
  t.is(parts, 64);
});

test('a client that leaves in the middle of a listing ends it', async (t) => {
  let parts = 0;
  const path = await serve(t, () => {
    parts++;
    return { text: 'x'.repeat(1 << 20), next: BEGIN };
  });
  const client = createConnection(path);
  client.write('show route\n');
  await until(client, /ready/);
  client.destroy();
  const other = createConnection(path);
  t.teardown(() => other.destroy());
  other.write('restrict\n');
  await until(other, /0016/);
  t.true(parts < 64);
});

test('a line without end is refused', async (t) => {
  const client = createConnection(await serve(t, () => DONE));
  client.write('x'.repeat(10_000));
  t.regex(await until(client, /9001/), /9001 Command too long/);
});

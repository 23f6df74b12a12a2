import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { RoaFile } from '../../../router/app/roa-files.ts';
import { dn42Json, type RegistryRoa } from '../../bgp/kit/roas.ts';

const A: RegistryRoa = { prefix: '172.20.1.0/24', maxLength: 24, asn: 4242420001 };
const B: RegistryRoa = { prefix: '172.20.2.0/24', maxLength: 24, asn: 4242420002 };

/** What a file says, as it says it. */
class Heard {
  readonly log: string[] = [];
  readonly file: RoaFile;
  #wake: () => void = () => undefined;

  constructor(t: ExecutionContext, location: string, isUrl = false) {
    const add = (what: string): void => {
      this.log.push(what);
      this.#wake();
    };
    this.file = new RoaFile(
      { name: 'roas', location, isUrl },
      3600,
      (list) => add(Array.from({ length: list.size }, (_, i) => String(list.prefix(i))).join()),
      (why) => add(`! ${why}`),
    );
    t.teardown(() => this.file.stop());
  }

  /** Resolves when so many things have been said. */
  async heard(count: number): Promise<string> {
    while (this.log.length < count) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.log[count - 1]!;
  }
}

function folder(t: ExecutionContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'mlshim-roas-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

test('a file is read at the start and again when it changes; what cannot be used is told and changes nothing', async (t) => {
  const path = join(folder(t), 'roas.json');
  const heard = new Heard(t, path);
  heard.file.start();
  t.is(await heard.heard(1), '! no such file');
  writeFileSync(path, dn42Json([A]));
  t.is(await heard.heard(2), '172.20.1.0/24');
  t.is(heard.file.lastError, '');
  writeFileSync(`${path}.new`, '{"roas":[\n{"prefix":"172.20.1.1/24","asn":1}]}');
  renameSync(`${path}.new`, path);
  t.is(await heard.heard(3), '! line 2: host bits set in 172.20.1.1/24');
  t.is(heard.file.lastError, 'line 2: host bits set in 172.20.1.1/24');
  t.true(heard.file.failures >= 2);
  writeFileSync(`${path}.new`, dn42Json([A, B]));
  renameSync(`${path}.new`, path);
  t.is(await heard.heard(4), '172.20.1.0/24,172.20.2.0/24');
});

test('a refresh reads an unchanged file', async (t) => {
  const path = join(folder(t), 'roas.conf');
  writeFileSync(path, 'route 172.20.1.0/24 max 24 as 4242420001;\n');
  const heard = new Heard(t, path);
  heard.file.start();
  await heard.heard(1);
  heard.file.refresh();
  t.is(await heard.heard(2), '172.20.1.0/24');
});

test('a URL is fetched, and what the server says instead of a file is an error', async (t) => {
  let answer: readonly [number, string] = [200, dn42Json([A, B])];
  const server = createServer((_, response) => {
    response.writeHead(answer[0], { 'last-modified': 'Wed, 26 Nov 2025 04:00:00 GMT' }).end(answer[1]);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const heard = new Heard(t, `http://127.0.0.1:${(server.address() as AddressInfo).port}/roas.json`, true);
  heard.file.start();
  t.is(await heard.heard(1), '172.20.1.0/24,172.20.2.0/24');
  t.is(heard.file.writtenAtMs, Date.UTC(2025, 10, 26, 4));
  answer = [503, 'no'];
  heard.file.refresh();
  t.is(await heard.heard(2), '! the server says 503');
  answer = [200, '<html>'];
  heard.file.refresh();
  t.regex(await heard.heard(3), /^! line 1: expected "route/);
});

test('a file that is cut short is not taken', async (t) => {
  const path = join(folder(t), 'roas.json');
  writeFileSync(path, dn42Json([A, B]).slice(0, -20));
  const heard = new Heard(t, path);
  heard.file.start();
  t.is(await heard.heard(1), '! line 1: the file is cut short');
});

test('a server that cannot be reached is told in words', async (t) => {
  const server = createServer();
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve)); // nobody listens there any more
  const heard = new Heard(t, `http://127.0.0.1:${port}/roas.json`, true);
  heard.file.start();
  t.is(await heard.heard(1), '! connection refused');
});

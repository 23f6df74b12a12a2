/** TCP_MD5SIG and IP_MINTTL of apps (RFC 2385, RFC 5082): a program that knows nothing of us signs its connections by our TCP. */
import { spawn } from 'node:child_process';
import test from 'ava';
import type { DataplaneStats } from '../../router/app/dataplane-protocol.ts';
import { startDataplane } from '../kit/dataplane.ts';

/** Prints one line per attempt: what the server read, or why there was no connection. */
const SCRIPT = `
import socket, struct
def sig(addr, key, flags=0, length=0):
    v6 = ':' in addr
    ss = struct.pack('=HHI16sI', socket.AF_INET6, 0, 0, socket.inet_pton(socket.AF_INET6, addr), 0) if v6 \\
        else struct.pack('=HH4s', socket.AF_INET, 0, socket.inet_aton(addr))
    return ss.ljust(128, b'\\0') + struct.pack('=BBHi', flags, length, len(key), 0) + key.ljust(80, b'\\0')
def attempt(family, addr, listener_key, client_key, option=14, flags=0, length=0, minttl=0, ttl=64):
    l = socket.socket(family)
    if listener_key: l.setsockopt(6, option, sig(addr, listener_key, flags, length))
    if minttl: l.setsockopt(0, 21, minttl)
    l.bind((addr, 0)); l.listen()
    c = socket.socket(family); c.settimeout(1.5)
    c.setsockopt(0, 2, ttl) if family == socket.AF_INET else None
    if client_key: c.setsockopt(6, 14, sig(addr, client_key))
    try:
        c.connect(l.getsockname()[:2])
        s, _ = l.accept()
        c.send(b'x' * 50000 + b'end'); c.shutdown(1)
        n, last = 0, b''
        while True:
            b = s.recv(65536)
            if not b: break
            n, last = n + len(b), b[-3:]
        print(n, last.decode())
    except OSError as e:
        print(type(e).__name__)
attempt(socket.AF_INET, '127.0.0.1', b'secret', b'secret')
attempt(socket.AF_INET6, '::1', b'secret', b'secret')
attempt(socket.AF_INET, '127.0.0.1', b'secret', b'secret', 32, 1, 8)
attempt(socket.AF_INET, '127.0.0.1', b'secret', b'another')
attempt(socket.AF_INET, '127.0.0.1', b'secret', None)
attempt(socket.AF_INET, '127.0.0.1', None, None, minttl=255, ttl=255)
attempt(socket.AF_INET, '127.0.0.1', None, None, minttl=255)
s = socket.socket()
for bad in (b'short', sig('127.0.0.1', b''), sig('::1', b'k'), sig('127.0.0.1', b'k')[:130] + struct.pack('=H', 81) + bytes(84)):
    try:
        s.setsockopt(6, 14, bad); print('taken')
    except OSError as e: print(e.errno)
`;

test('keys of both sides fit, or there is no connection; and farther away than IP_MINTTL there is none either', async (t) => {
  t.timeout(60_000);
  const d = await startDataplane();
  try {
    const lines = await new Promise<string[]>((resolve) => {
      const child = spawn('python3', ['-c', SCRIPT], { env: d.env, stdio: ['ignore', 'pipe', 'inherit'] });
      let out = '';
      child.stdout.on('data', (b) => (out += String(b)));
      child.once('close', () => resolve(out.trim().split('\n')));
    });
    t.deepEqual(lines, [
      '50003 end',
      '50003 end',
      '50003 end',
      'TimeoutError',
      'TimeoutError',
      '50003 end',
      'TimeoutError',
      '22', // EINVAL
      '2', // ENOENT: nothing to remove
      '22',
      '22',
    ]);
    const { counters, drops } = (await d.client.request({ kind: 'stats' }).reply).result as DataplaneStats;
    t.true(counters['tcp_signatureWrong']! > 0 && counters['tcp_signatureMissing']! > 0);
    t.true(drops['ttl-security']! > 0);
    t.deepEqual(
      Object.keys(counters).filter((c) => /withoutEffect.*(MINTTL|MD5)/.test(c)),
      [],
    );
  } finally {
    await d.stop();
  }
  t.deepEqual(d.logs, []);
});

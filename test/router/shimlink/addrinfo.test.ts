import test from 'ava';
import { Addr } from '../../../router/lib/addr.ts';
import {
  type AddrInfoContext,
  type AddrInfoLookup,
  type AddrInfoRequest,
  Ai,
  Eai,
  finishAddrInfo,
  finishNameInfo,
  Ni,
  parseInetAton,
  startAddrInfo,
  startNameInfo,
} from '../../../router/shimlink/addrinfo.ts';
import { HostsFile, ServicesFile } from '../../../router/shimlink/hosts.ts';

const a = (text: string): Addr => Addr.parse(text)!;
const context: AddrInfoContext = {
  hosts: new HostsFile(
    '# a comment\n127.0.0.1 localhost\n192.0.2.7\tfiler nas # two names\n2001:db8::7 filer\nnonsense\n',
  ),
  services: new ServicesFile('http 8080/tcp www # ours\nodd 99999/tcp\nhttp 81/udp\n'),
  configured: [4, 6],
  hasRoute: (addr) => addr.family === 4 || String(addr).startsWith('fd'),
  linkIndex: (name) => (name === 'dn42' ? 3 : undefined),
};

function ask(changes: Partial<AddrInfoRequest>, with_: AddrInfoContext = context): ReturnType<typeof startAddrInfo> {
  return startAddrInfo(
    { host: undefined, service: undefined, family: 0, socktype: 1, protocol: 0, flags: 0, ...changes },
    with_,
  );
}

function texts(result: ReturnType<typeof startAddrInfo>): string[] | number | string {
  if (result.kind === 'error') return result.code;
  if (result.kind === 'lookup') return `lookup ${result.name} ${result.families.join()}`;
  return result.list.map((e) => `${e.family === 10 ? 'v6' : 'v4'} ${e.addr} ${e.port} ${e.socktype}/${e.protocol}`);
}

test('numeric hosts need no lookup, in every form inet_aton takes', (t) => {
  t.deepEqual(texts(ask({ host: '192.0.2.1', service: '80' })), ['v4 192.0.2.1 80 1/6']);
  t.deepEqual(texts(ask({ host: '2001:db8::1' })), ['v6 2001:db8::1 0 1/6']);
  t.deepEqual(
    ['1', '127.1', '10.1.2', '0x7f.0.0.1', '0177.1', '4294967295'].map((x) => String(parseInetAton(x))),
    ['0.0.0.1', '127.0.0.1', '10.1.0.2', '127.0.0.1', '127.0.0.1', '255.255.255.255'],
  );
  for (const bad of ['', '1.2.3.4.5', '256.1.1.1', '1..2', '08', '4294967296', '1.2.3.256', 'x'])
    t.is(parseInetAton(bad), undefined);
});

test('a zone is a link name or a number', (t) => {
  const scopeOf = (host: string): number | string => {
    const r = ask({ host });
    return r.kind === 'list' ? r.list[0]!.scope : JSON.stringify(r);
  };
  t.is(scopeOf('fe80::1%dn42'), 3);
  t.is(scopeOf('fe80::1%12'), 12);
  t.is(texts(ask({ host: 'fe80::1%nope' })), Eai.NoName);
});

test('without a socket type every kind is listed, without a host the wildcard or loopback', (t) => {
  t.deepEqual(texts(ask({ host: '192.0.2.1', service: '80', socktype: 0 })), [
    'v4 192.0.2.1 80 1/6',
    'v4 192.0.2.1 80 2/17',
    'v4 192.0.2.1 80 3/0',
  ]);
  t.deepEqual(texts(ask({ service: '80', flags: Ai.Passive })), ['v4 0.0.0.0 80 1/6', 'v6 :: 80 1/6']);
  t.deepEqual(texts(ask({ service: '80' })), ['v6 ::1 80 1/6', 'v4 127.0.0.1 80 1/6']);
  t.deepEqual(texts(ask({ service: '80', family: 2 })), ['v4 127.0.0.1 80 1/6']);
});

test('services are found by name, alias and protocol; the file comes before the common ones', (t) => {
  t.deepEqual(texts(ask({ host: '192.0.2.1', service: 'www' })), ['v4 192.0.2.1 8080 1/6']);
  t.deepEqual(texts(ask({ host: '192.0.2.1', service: 'http', socktype: 0 })), [
    'v4 192.0.2.1 8080 1/6',
    'v4 192.0.2.1 81 2/17',
  ]);
  t.deepEqual(texts(ask({ host: '192.0.2.1', service: 'ssh', socktype: 0 })), ['v4 192.0.2.1 22 1/6']);
});

test('errors are those of the C library', (t) => {
  t.is(texts(ask({})), Eai.NoName);
  t.is(texts(ask({ host: 'x', flags: 0x10000 })), Eai.BadFlags);
  t.is(texts(ask({ service: '80', flags: Ai.CanonName })), Eai.BadFlags);
  t.is(texts(ask({ host: 'x', family: 1 })), Eai.Family);
  t.is(texts(ask({ host: 'x', socktype: 77 })), Eai.SockType);
  t.is(texts(ask({ host: 'x', socktype: 2, protocol: 6 })), Eai.SockType);
  t.is(texts(ask({ host: 'x', service: 'nonsense' })), Eai.Service);
  t.is(texts(ask({ host: 'x', service: '70000' })), Eai.Service);
  t.is(texts(ask({ host: 'x', service: '80', socktype: 3 })), Eai.Service);
  t.is(texts(ask({ host: 'x', service: 'http', flags: Ai.NumericServ })), Eai.NoName);
  t.is(texts(ask({ host: 'www.example', flags: Ai.NumericHost })), Eai.NoName);
  t.is(texts(ask({ host: '192.0.2.1', family: 10 })), Eai.AddrFamily);
  t.is(texts(ask({ host: '::1', family: 2 })), Eai.AddrFamily);
  t.is(
    texts(ask({ host: 'www.example', family: 10, flags: Ai.AddrConfig }, { ...context, configured: [4] })),
    Eai.NoName,
  );
});

test('the hosts file answers before the name servers', (t) => {
  t.deepEqual(texts(ask({ host: 'NAS', flags: Ai.CanonName })), ['v4 192.0.2.7 0 1/6']);
  const r = ask({ host: 'nas', flags: Ai.CanonName });
  t.is(r.kind === 'list' && r.canonicalName, 'filer');
});

test('localhost never leaves the host', (t) => {
  t.deepEqual(texts(ask({ host: 'localhost' })), ['v4 127.0.0.1 0 1/6']);
  t.deepEqual(texts(ask({ host: 'app.localhost.' })), ['v6 ::1 0 1/6', 'v4 127.0.0.1 0 1/6']);
});

test('lookups ask for the wanted and configured families', (t) => {
  t.is(texts(ask({ host: 'www.example' })), 'lookup www.example 6,4');
  t.is(texts(ask({ host: 'www.example', family: 2 })), 'lookup www.example 4');
  t.is(
    texts(ask({ host: 'www.example', flags: Ai.AddrConfig }, { ...context, configured: [4] })),
    'lookup www.example 4',
  );
  t.is(texts(ask({ host: 'www.example', family: 10, flags: Ai.V4Mapped })), 'lookup www.example 6,4');
});

const finish = (changes: Partial<AddrInfoRequest>, addresses: string[]): ReturnType<typeof texts> => {
  const lookup = ask({ host: 'www.example', ...changes }) as AddrInfoLookup;
  return texts(finishAddrInfo(lookup, { status: 'ok', canonicalName: 'w', addresses: addresses.map(a) }, context));
};

test('reachable addresses come first, then IPv6, then the order of the answer', (t) => {
  t.deepEqual(finish({}, ['2001:db8::1', '192.0.2.2', 'fd00::1', '192.0.2.1']), [
    'v6 fd00::1 0 1/6',
    'v4 192.0.2.2 0 1/6',
    'v4 192.0.2.1 0 1/6',
    'v6 2001:db8::1 0 1/6',
  ]);
});

test('mapped addresses are given for want of IPv6 ones, or with AI_ALL', (t) => {
  const family = 10;
  t.deepEqual(finish({ family, flags: Ai.V4Mapped }, ['192.0.2.1']), ['v6 192.0.2.1 0 1/6']);
  t.deepEqual(finish({ family, flags: Ai.V4Mapped }, ['fd00::1', '192.0.2.1']), ['v6 fd00::1 0 1/6']);
  t.deepEqual(finish({ family, flags: Ai.V4Mapped | Ai.All }, ['fd00::1', '192.0.2.1']), [
    'v6 fd00::1 0 1/6',
    'v6 192.0.2.1 0 1/6',
  ]);
});

test('failed lookups become the codes of the C library', (t) => {
  const lookup = ask({ host: 'www.example' }) as AddrInfoLookup;
  const code = (status: 'no-name' | 'no-data' | 'failed'): unknown =>
    texts(finishAddrInfo(lookup, { status, canonicalName: '', addresses: [] }, context));
  t.deepEqual([code('no-name'), code('no-data'), code('failed')], [Eai.NoName, Eai.NoData, Eai.Again]);
});

test('addresses and ports are turned into text, from the files or by lookup', (t) => {
  t.deepEqual(startNameInfo(a('192.0.2.7'), 8080, 0, '', context), {
    numeric: { host: '192.0.2.7', service: 'http' },
    host: 'filer',
  });
  t.is(startNameInfo(a('192.0.2.7'), 80, Ni.NumericHost, '', context).host, '192.0.2.7');
  t.is(startNameInfo(a('fe80::1'), 80, Ni.NumericHost, 'dn42', context).host, 'fe80::1%dn42');
  t.is(startNameInfo(a('192.0.2.7'), 53, Ni.Dgram, '', context).numeric.service, 'domain');
  t.is(startNameInfo(a('192.0.2.7'), 8080, Ni.NumericServ, '', context).numeric.service, '8080');
  const { numeric, host } = startNameInfo(a('192.0.2.9'), 22, 0, '', context);
  t.is(host, 'lookup');
  const none = { status: 'no-name', canonicalName: '', addresses: [] } as const;
  t.deepEqual(finishNameInfo(numeric, { ...none, status: 'ok', canonicalName: 'x.example' }, 0), {
    host: 'x.example',
    service: 'ssh',
  });
  t.deepEqual(finishNameInfo(numeric, none, 0), { host: '192.0.2.9', service: 'ssh' });
  t.is(finishNameInfo(numeric, none, Ni.NameReqd), Eai.NoName);
});

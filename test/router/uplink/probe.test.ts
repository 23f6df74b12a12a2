import test from 'ava';
import { Addr } from '../../../router/lib/addr.ts';
import { type ProbeQuestion, talkOf } from '../../../router/uplink/probe.ts';
import { buildDns, DnsRcode, DnsType, parseDns } from '../../../router/wire/dns.ts';

const V4 = Addr.parse('192.0.2.1')!;
const V6 = Addr.parse('2001:db8::1')!;
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (octets: Uint8Array): string => new TextDecoder().decode(octets);

const dns = { kind: 'dns', port: 53, name: 'example.org', type: DnsType.A } as const;
const http = (more: Partial<ProbeQuestion & { kind: 'http' }> = {}) =>
  ({ kind: 'http', port: 80, path: '/', host: undefined, expect: [], ...more }) as const;

function dnsAnswer(query: Uint8Array, more: { readonly id?: number; readonly rcode?: number; readonly name?: string }) {
  const m = parseDns(query)!;
  const { id = m.id, rcode = DnsRcode.NoError, name } = more;
  const questions = name === undefined ? m.questions : [{ ...m.questions[0]!, name }];
  return buildDns({ ...m, id, rcode, questions, isResponse: true })!;
}

test('a name server that answers is good, also when there is no such name', (t) => {
  const talk = talkOf(dns, V4, 0x12345678);
  t.is(talk.transport, 'datagram');
  t.like(parseDns(talk.request), { id: 0x5678, recursionDesired: true, questions: [{ name: 'example.org', type: 1 }] });
  t.deepEqual(talk.hear(dnsAnswer(talk.request, {})), { isGood: true });
  t.deepEqual(talk.hear(dnsAnswer(talk.request, { rcode: DnsRcode.NxDomain, name: 'EXAMPLE.org' })), { isGood: true });
});

test('a name server that fails or refuses is not, and says so', (t) => {
  const talk = talkOf(dns, V4, 1);
  const said = (rcode: number) => talk.hear(dnsAnswer(talk.request, { rcode }));
  t.deepEqual(said(DnsRcode.ServFail), { isGood: false, reason: 'the name server says SERVFAIL' });
  t.deepEqual(said(DnsRcode.Refused), { isGood: false, reason: 'the name server says REFUSED' });
});

test('what is no answer to this question is waited past', (t) => {
  const talk = talkOf(dns, V4, 1);
  t.is(talk.hear(dnsAnswer(talk.request, { id: 2 })), undefined);
  t.is(talk.hear(dnsAnswer(talk.request, { name: 'example.net' })), undefined);
  t.is(talk.hear(talk.request), undefined);
  t.is(talk.hear(bytes('nonsense')), undefined);
});

test('the root can be asked for', (t) => {
  const talk = talkOf({ ...dns, name: '', type: DnsType.NS }, V4, 1);
  t.like(parseDns(talk.request), { questions: [{ name: '', type: DnsType.NS }] });
  t.deepEqual(talk.hear(dnsAnswer(talk.request, {})), { isGood: true });
});

test('a GET names its host: as configured, or as it is asked', (t) => {
  const host = (q: ProbeQuestion & { readonly kind: 'http' }, to: Addr) =>
    /\r\nHost: (.*)\r\n/.exec(text(talkOf(q, to, 0).request))![1];
  t.is(host(http({ host: 'example.org' }), V4), 'example.org');
  t.is(host(http(), V4), '192.0.2.1');
  t.is(host(http({ port: 8080 }), V6), '[2001:db8::1]:8080');
  t.regex(text(talkOf(http({ path: '/health?x=1' }), V4, 0).request), /^GET \/health\?x=1 HTTP\/1\.1\r\n/);
});

test('a status below 400 is good, or one of those expected', (t) => {
  const judge = (status: string, expect: readonly number[] = []) =>
    talkOf(http({ expect }), V4, 0).hear(bytes(`HTTP/1.1 ${status}\r\nServer: x\r\n\r\n`));
  for (const good of ['200 OK', '204 No Content', '302 Found', '399 ']) t.deepEqual(judge(good), { isGood: true });
  t.deepEqual(judge('503 Service Unavailable'), { isGood: false, reason: 'HTTP status 503' });
  t.deepEqual(judge('404', [404]), { isGood: true });
  t.deepEqual(judge('200 OK', [204]), { isGood: false, reason: 'HTTP status 200' });
});

test('a response may come octet by octet, behind interim ones', (t) => {
  const talk = talkOf(http(), V4, 0);
  const whole = 'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 500 Oops\r\n';
  for (const c of whole.slice(0, -1)) t.is(talk.hear(bytes(c)), undefined);
  t.deepEqual(talk.hear(bytes(whole.slice(-1))), { isGood: false, reason: 'HTTP status 500' });
});

test('what is not HTTP is told, however long it is', (t) => {
  const no = { isGood: false, reason: 'no HTTP response' } as const;
  t.deepEqual(talkOf(http(), V4, 0).hear(bytes('SSH-2.0-OpenSSH_9.2\r\n')), no);
  t.deepEqual(talkOf(http(), V4, 0).hear(new Uint8Array(20_000)), no);
});

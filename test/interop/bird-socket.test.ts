/** Our answers on BIRD's control socket against those of the BIRD of the distribution, which heard of the same routes. */
import { join } from 'node:path';
import test from 'ava';
import { hasBird, run } from '../bgp/kit/bird.ts';

/** Asked of both, in this order, over one connection each. */
const COMMANDS = [
  'show status',
  'show protocols',
  'show protocols dn42_x',
  'show protocols "dn*"',
  'show protocols "x*"',
  'show protocols nosuch',
  'show protocols all',
  'show protocols all dn42_x',
  'show route',
  'show route all',
  'show route primary',
  'show route count',
  'show route table master6',
  'show route table master4 count',
  'show route table nosuch',
  'show route protocol dn42_x',
  'show route protocol dn42_x all primary',
  'show route protocol networks4',
  'show route protocol nosuch',
  'show route for 172.20.1.5',
  'show route for 172.20.1.5 all',
  'show route for 172.20.2.0/26',
  'show route for fd42:1::1 all',
  'show route for 192.0.2.1',
  'show route for 172.20.1.1/26',
  'show route 172.20.2.0/25 all',
  'show route 172.20.9.0/24',
  'show route in 172.20.0.0/14',
  'show route where net ~ 172.20.2.0/24 all',
  'show route where net ~ [ 172.20.0.0/16+ ] count',
  'show route where net ~ [ 172.20.2.0/25 ]',
  'show route where bgp_path.last = 4242420009',
  'show route filtered',
  'show route filtered protocol dn42_x all',
  'show route export dn42_x',
  'show route noexport dn42_x',
  'show route stats',
  'show symbols protocol',
  'show symbols nosuch',
  'bogus',
  'show',
  '',
  'reload in dn42_x',
  'enable dn42_x',
  'enable nosuch',
  'restrict',
  'restrict',
  'disable dn42_x',
  'enable dn42_x',
  'restart dn42_x',
  'reload dn42_x',
  'configure',
  'show route for 172.20.1.5 all',
] as const;

/** Asked of both when their peer was killed, and once more when it has been away for long. */
const STALE_COMMANDS = [
  'show route all',
  'show route filtered',
  'show protocols all dn42_x',
  'show route for 172.20.1.5 all',
] as const;

/** Of a session that is down, what is kept and for how long: how attempts to connect go on differs. */
function kept(command: string, reply: string): string {
  const text = normal(command, reply).replace(/( (?:Restart|LL stale) timer: +)[\d.]+/g, '$1N');
  if (!command.startsWith('show protocols')) return text;
  return text
    .split('\n')
    .filter((line) => /restart active|Restart timer|Channel|State:|Routes:|GR:|LL stale/.test(line))
    .map((line) => line.replace(/^\d{4}[- ]/, ' '))
    .join('\n');
}

/** What may differ: times, the interface, the order of a hash table, counters of single changes that we do not keep. */
function normal(command: string, reply: string): string {
  const text = reply
    .replace(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{3})?/g, 'TIME')
    // The protocol that watches interfaces: we have none.
    .replace(/^1002-device1 .*\n(?:1006-\n1002-| )/m, '1002-')
    .replace(/^1010-device1 .*\n /m, '1010-')
    .replace(/^ device1 .*\n/m, '')
    .replace(/\btun[01]\b/g, 'TUN')
    .replace(/( (?:Hold|Keepalive) timer: +)[\d.]+/g, '$1N')
    .replace(/((?:Import|Export) (?:updates|withdraws): +).*/g, '$1N')
    .replace(/[ ]+N$/gm, ' N');
  return command.startsWith('show route') || command.startsWith('show symbols') ? ordered(text) : text;
}

/** A listing with its networks in the order of their names: BIRD has them in that of a hash table. */
function ordered(text: string): string {
  const lines = text.split('\n').map((line) => line.replace(/^(\d{4}[- ]| )/, ''));
  const blocks: string[][] = [];
  for (const line of lines) {
    if (/^[\s\t]/.test(line) && blocks.length > 0) blocks.at(-1)!.push(line);
    else blocks.push([line]);
  }
  return blocks
    .map((b) => b.join('\n'))
    .sort()
    .join('\n');
}

const missing = !hasBird() ? 'not installed: bird2' : process.getuid?.() === 0 ? '' : 'needs root for a namespace';
const title = 'the same commands get the same answers from BIRD and from us';

if (missing !== '') test.skip(`${title} (${missing})`, () => undefined);
else
  test(title, async (t) => {
    const main = join(import.meta.dirname, 'bird-socket-main.js');
    const out = await run('unshare', [
      '-n',
      process.execPath,
      main,
      JSON.stringify(COMMANDS),
      JSON.stringify(STALE_COMMANDS),
    ]);
    type Replies = Record<'bird' | 'ours', Record<string, string>>;
    const { told, restarting, lingering, metrics } = JSON.parse(out) as Record<
      'told' | 'restarting' | 'lingering',
      Replies
    > & { readonly metrics?: string };
    if (metrics !== undefined) {
      for (const line of [
        /^bird_protocol_up\{.*ip_version="4".*name="dn42_x".*proto="BGP".*\} 1$/m,
        /^bird_protocol_prefix_import_count\{.*ip_version="4".*name="dn42_x".*\} 6$/m,
        /^bird_protocol_prefix_filter_count\{.*ip_version="4".*name="dn42_x".*\} 1$/m,
        /^bird_protocol_prefix_export_count\{.*ip_version="6".*name="dn42_x".*\} 1$/m,
        /^bird_protocol_prefix_preferred_count\{.*ip_version="6".*name="dn42_x".*\} 1$/m,
        /^bird_protocol_uptime\{.*name="dn42_x".*\} \d+$/m,
      ]) {
        t.regex(metrics, line);
      }
    } else t.log('prometheus-bird-exporter is not installed: metrics were not compared');
    const texts = (by: Record<string, string>): string[] =>
      ['greeting', ...COMMANDS].map((command) => `${command}:\n${normal(command, by[command]!)}`);
    t.deepEqual(texts(told.ours), texts(told.bird));
    const keptTexts = (by: Record<string, string>): string[] =>
      STALE_COMMANDS.map((command) => `${command}:\n${kept(command, by[command]!)}`);
    t.deepEqual(keptTexts(restarting.ours), keptTexts(restarting.bird));
    t.true(restarting.bird['show protocols all dn42_x']!.includes('Neighbor GR:    Regular'));
    t.deepEqual(keptTexts(lingering.ours), keptTexts(lingering.bird));
    t.true(lingering.bird['show route all']!.includes('(100s)'));
  });
